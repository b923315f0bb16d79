"""A language model of characters, trained on an endless text by truncated backpropagation.

A small grammar generates the text: statements, and questions that begin with "does" and so have a
bare verb and a question mark at the end. The entropy of the grammar is 0.372 bits per character,
the best possible loss; to come close, a GRU must remember the first word. A batch has 32 positions
in the text. The state after a window of 40 characters is the state before the next, but gradients
do not pass between windows. At the end, the model continues the text. It prints, up to the last
digits and the text ::

    step   0: 4.330 bits a character
    step 100: 0.455 bits a character
    step 200: 0.385 bits a character
    step 300: 0.380 bits a character
    step 400: 0.382 bits a character
    best possible: 0.372
     fish follows the dog. the bird follows a fish. a dog sees the bird. does the bird see a c
"""

import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgru

UNITS, PLACES, STRETCH, SENTENCES = 64, 32, 40, 3000
ARTICLES, NOUNS = ("a", "the"), ("cat", "dog", "bird", "fish")
VERBS = ("see", "like", "follow", "need")


def write(sentences: int, seed: int) -> str:
    """Return a sequence of sentences of the grammar."""
    draw = random.Random(seed)

    def thing():
        return " ".join(draw.choice(words) for words in (ARTICLES, NOUNS))

    def sentence():
        verb, asks = draw.choice(VERBS), draw.random() < 0.5
        ask, ending, stop = ("does ", "", "?") if asks else ("", "s", ".")
        return f"{ask}{thing()} {verb}{ending} {thing()}{stop} "

    return "".join(sentence() for _ in range(sentences))


def main(steps: int = 400) -> None:
    text = write(SENTENCES, seed=0)
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(character) for character in text])
    rows = codes[: len(codes) // PLACES * PLACES].reshape(PLACES, -1)
    key_gru, key_readout, key = jax.random.split(jax.random.key(0), 3)
    model = {
        "gru": jaxgru.init(key_gru, len(alphabet), UNITS),
        "readout": 0.1 * jax.random.normal(key_readout, (UNITS, len(alphabet))),
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, steps))
    state = optimizer.init(model)

    def logits(model, codes, h):
        states, h = jaxgru.gru(model["gru"], jax.nn.one_hot(codes, len(alphabet)), h)
        return states @ model["readout"], h

    def loss(model, codes, h):
        scores, h = logits(model, codes[:, :-1], h)
        nats = optax.softmax_cross_entropy_with_integer_labels(scores, codes[:, 1:]).mean()
        return nats / math.log(2), h

    @jax.jit
    def step(model, state, codes, h):
        (bits, h), gradient = jax.value_and_grad(loss, has_aux=True)(model, codes, h)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(model, updates), state, bits, h

    @jax.jit
    def sample(model, code, h, key):
        def one(carry, key):
            code, h = carry
            scores, h = logits(model, code[None], h)
            code = jax.random.categorical(key, scores[0])
            return (code, h), code

        return jax.lax.scan(one, (code, h), jax.random.split(key, 90))[1]

    h = jnp.zeros((PLACES, UNITS))
    stretches = (rows.shape[1] - 1) // STRETCH
    for number in range(steps + 1):
        first = number % stretches * STRETCH
        read = rows[:, first : first + STRETCH + 1]
        model, state, bits, h = step(model, state, read, h)
        if number % max(steps // 4, 1) == 0:
            print(f"step {number:3}: {bits:.3f} bits a character")
    # A sentence's choices: its kind (1 bit), an article and a noun twice (3 each), a verb (2).
    print(f"best possible: {SENTENCES * (1 + 2 * 3 + 2) / len(text):.3f}")
    written = sample(model, jnp.asarray(read[0, -1]), h[0], key)
    print("".join(alphabet[code] for code in written))


if __name__ == "__main__":
    main()
