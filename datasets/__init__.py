"""Data sets: cards, loading, splits and transforms."""

if __name__ == "datasets":  # a checkout's folder found instead of Hugging Face's package of that name
    raise ModuleNotFoundError("this is the source folder of nat.datasets, not Hugging Face's datasets", name="datasets")
