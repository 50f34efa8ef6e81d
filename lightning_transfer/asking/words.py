"""Label words: which word of the vocabulary means which class."""

from collections.abc import Mapping, Sequence

from lightning_transfer.language import LanguageModel
from lightning_transfer.language.fill import word_token
from lightning_transfer.templates import fields_of, fill, halves


def words_of(words: Sequence[str] | Mapping[str, str] | None, class_names: Sequence[str] | None) -> list[str]:
    """The words in the order of the classes.

    Raises:
        ValueError: for words of unknown classes, too many or few, empty ones, or the same for two classes.
    """
    names = list(class_names or ())
    if isinstance(words, Mapping):
        if unknown := [name for name in words if name not in names]:
            raise ValueError(f"words names the class {unknown[0]!r}, but the classes are {', '.join(names[:10])}")
        found = [words.get(name, name) for name in names]
    else:
        found = list(words) if words is not None else names
    if names and len(found) != len(names):
        raise ValueError(f"words={found} are {len(found)}, but there are {len(names)} classes: {', '.join(names[:10])}")
    if len(found) < 2:
        raise ValueError(f"words={found} leave nothing to choose between; give one for each class")
    if empty := [i for i, word in enumerate(found) if not word.strip()]:
        raise ValueError(f"words: that of class {names[empty[0]] if names else empty[0]!r} is empty")
    if twice := [word for word in found if found.count(word) > 1]:
        raise ValueError(f"words: {twice[0]!r} stands for two classes; give each a word of its own")
    return found


def check_words(model: LanguageModel, template: str, words: Sequence[str]) -> None:
    """Refuse words that the model cannot tell apart.

    Raises:
        ValueError: if two are the same tokens, or one the beginning of another, which could then never win; of a masked model, if one is more
            than a token.
    """
    first, rest = halves(template)
    empty = dict.fromkeys(fields_of(template), "a")
    before, after = fill(first, empty), fill(rest, empty)
    if model.masked:
        space, bare = (" " if before.endswith(" ") else ""), before.removesuffix(" ")
        mask = model.tokenizer.id_to_token(model.special["mask"])
        (masked,) = model.encode([f"{bare}{space}{mask}{after}"])
        tokens = [[word_token(model, bare, after, masked, space + word)] for word in words]
    else:
        behind = after if fields_of(rest) else ""
        tokens = model.encode([before + word + behind for word in words])
    for i, one in enumerate(tokens):
        for j, other in enumerate(tokens):
            if i != j and one == other[: len(one)]:
                how = (
                    "are the same tokens"
                    if one == other
                    else "begin with the same tokens, and the shorter is always likelier"
                )
                raise ValueError(f"words: {words[i]!r} and {words[j]!r} {how} to the model; choose another word")
