"""A training script with a bug."""

print("before the bug", flush=True)


def divide(a, b):
    return a / b


divide(1, 0)
