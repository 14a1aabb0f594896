"""How many responses to a prompt are read in one row behind it."""


def together(width: int, samples: int, prompt: int, response: int) -> int:
    """How many of a prompt's responses share a row, a divisor of `samples`.

    A row of T slots costs a layer `12 D^2 T` multiplications in kernels and `2 D T^2`
    in attention, where responses in one row are multiplied with each other for nothing.
    So long prompts are shared by many, and short ones before long responses by none.

    Args:
        width: D, of the decoder.
        samples: responses to a prompt.
        prompt: slots of a prompt.
        response: slots of a response.
    """

    def work(count):
        slots = prompt + count * response
        return slots * (6 * width + slots) / count

    return min((k for k in range(1, samples + 1) if samples % k == 0), key=work)
