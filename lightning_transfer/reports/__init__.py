"""Reports: from the logits of a checkpoint's splits (`Scored`) to rows of tables, and from these to pictures."""
