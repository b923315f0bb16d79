"""What is asked of every refusal of a bad file."""

import pytest

import jaxgru


def assert_refused(path, content, reason):
    """Assert that such a file is refused in one clean line, with path and reason; return it."""
    path.write_bytes(content)
    with pytest.raises(jaxgru.WeightsError) as caught:
        jaxgru.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert message.isprintable()
    return message
