"""What the settings of a method may be: a value that makes no sense is refused in a sentence before anything runs."""


def check(path: str, held, **expected: tuple[bool, str]) -> None:
    """Refuses the first value of a part of the config that is not what is expected.

    Args:
      path: of that part, such as "config.method".
      held: the part.
      expected: key -> whether its value may be, and what completes the sentence "expected ...".

    Raises:
      ValueError: with the key's path, what was given and what is expected.

    >>> check("config.method", {"stride": 0}, stride=(False, "1 or more pixels"))
    Traceback (most recent call last):
    ValueError: config.method.stride is 0; expected 1 or more pixels
    """
    for name, (allowed, says) in expected.items():
        if not allowed:
            raise ValueError(f"{path}.{name} is {held[name]!r}; expected {says}")
