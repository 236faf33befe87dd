"""Map the top-level folders onto one import package, so that installing never touches other people's names."""

from setuptools import find_packages, setup

FOLDERS = {"nat": "nat", "nat.supernet": "supernet", "nat.datasets": "datasets", "nat.pretrained": "pretrained"}
packages = [
    package
    for name, folder in FOLDERS.items()
    for package in [name, *(f"{name}.{sub}" for sub in find_packages(folder))]
]

setup(packages=packages, package_dir=FOLDERS)
