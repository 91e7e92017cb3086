"""Configs of the data: one model for each data set or kind of file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from nfkd.config.base import Config, field

Scaling = Literal["standard", "robust", "quantile", "none"]
_Point = Annotated[tuple[float, float], Field(strict=False)]  # TOML arrays arrive as lists
_IMAGES, _PLANE, _TABLES = "Images", "In the plane", "Tables"


def _kind(name: str, label: str, group: str, help: str) -> Any:  # noqa: A002 - as `field` has it
    return field(name, title="Data set", label=label, group=group, help=help)


class _ValidationConfig(Config, frozen=True):
    validation_fraction: float = field(
        0.15,
        title="Validation split",
        help="Fraction of examples that select the weights.",
        gt=0.0,
        le=0.4,
        advanced=True,
    )
    split_seed: int = field(
        0, title="Split seed", help="Seed of the split, for all runs of the experiment.", ge=0, lt=2**31, advanced=True
    )


class _SplitConfig(_ValidationConfig, frozen=True):
    test_fraction: float = field(
        0.15, title="Test split", help="Fraction of examples for the reported figures.", gt=0.0, le=0.4, advanced=True
    )


# --- densities in the plane ------------------------------------------------------------------------------------------


class _PlaneConfig(_SplitConfig, frozen=True):
    count: int = field(
        6000, title="Points", help="Number of points in all, before the split.", unit="points", ge=100, le=1_000_000
    )
    noise: float = field(
        0.08, title="Noise", help="Standard deviation of the Gaussian noise around the shape.", ge=0.0, le=1.0
    )


class TwoMoonsConfig(_PlaneConfig, frozen=True):
    """Two interleaved half circles in the plane."""

    kind: Literal["two_moons"] = _kind("two_moons", "Two moons", _PLANE, "Two half circles in the plane.")


class CirclesConfig(_PlaneConfig, frozen=True):
    """Two concentric circles in the plane."""

    kind: Literal["circles"] = _kind("circles", "Circles", _PLANE, "Two concentric circles in the plane.")


class PinwheelConfig(_PlaneConfig, frozen=True):
    """Bent arms around the centre (Johnson et al. 2016, arXiv 1603.06277)."""

    kind: Literal["pinwheel"] = _kind("pinwheel", "Pinwheel", _PLANE, "Bent arms around the centre.")
    arms: int = field(5, title="Arms", help="Number of arms.", ge=1, le=50)


class SpiralsConfig(_PlaneConfig, frozen=True):
    """Two spirals in the plane."""

    kind: Literal["spirals"] = _kind("spirals", "Spirals", _PLANE, "Two spirals in the plane.")


class CheckerboardConfig(_PlaneConfig, frozen=True):
    """The dark squares of a checkerboard, uniformly filled."""

    kind: Literal["checkerboard"] = _kind("checkerboard", "Checkerboard", _PLANE, "The dark squares of a board.")
    noise: float = field(
        0.0, title="Noise", help="Standard deviation of the Gaussian noise on the squares.", ge=0.0, le=1.0
    )


class EightGaussiansConfig(_PlaneConfig, frozen=True):
    """Eight Gaussians on a circle."""

    kind: Literal["eight_gaussians"] = _kind(
        "eight_gaussians", "Eight Gaussians", _PLANE, "Eight Gaussians on a circle."
    )
    noise: float = field(0.2, title="Noise", help="Standard deviation of each Gaussian.", gt=0.0, le=1.0)


class RingsConfig(_PlaneConfig, frozen=True):
    """Concentric rings of equal density along their lines."""

    kind: Literal["rings"] = _kind("rings", "Rings", _PLANE, "Concentric rings.")
    rings: int = field(4, title="Rings", help="Number of rings.", ge=1, le=20)


class LetterConfig(_PlaneConfig, frozen=True):
    """A letter of the alphabet, uniformly filled."""

    kind: Literal["letter"] = _kind("letter", "Letter", _PLANE, "A letter, uniformly filled.")
    letter: str = field("S", title="Letter", help="One character of the font.", min_length=1, max_length=1)
    noise: float = field(
        0.02, title="Noise", help="Standard deviation of the Gaussian noise on the letter.", ge=0.0, le=1.0
    )


class DrawnConfig(_PlaneConfig, frozen=True):
    """Points that the user draws; examples are drawn around them."""

    kind: Literal["drawn"] = _kind("drawn", "Drawn by you", _PLANE, "Points that you draw in the plane.")
    points: tuple[_Point, ...] = field(
        ((-1.0, 0.0), (0.0, 1.0), (1.0, 0.0)),
        title="Drawing",
        help="Points as pairs of x and y; every example is one of them with noise.",
        min_length=1,
        max_length=100_000,
        strict=False,
    )


# --- images ----------------------------------------------------------------------------------------------------------


class _ImagesConfig(Config, frozen=True):
    class_labels: bool = field(
        False, title="Class-conditional", help="Use the class labels as context of all flows.", advanced=True
    )
    flip: bool = field(
        False, title="Flip", help="Flip training images from left to right with probability one half.", advanced=True
    )
    shift: int = field(
        0,
        title="Shift",
        help="Largest shift of training images in each direction; the edge pixels are repeated.",
        unit="pixels",
        ge=0,
        le=32,
        advanced=True,
    )


class ByteImagesConfig(_ImagesConfig, frozen=True):
    """Images with up to 8 bits a channel."""

    bits: int = field(
        8, title="Bits", help="Bits that are kept of each channel.", unit="bits", ge=1, le=8, advanced=True
    )


_FOLDER = "Folder of the files, packed or not; empty: NFKD's cache of downloads."


class DigitsConfig(_ImagesConfig, _SplitConfig, frozen=True):
    """1,797 handwritten digits of 8×8 pixels and 17 grey levels (scikit-learn's copy of UCI optdigits)."""

    kind: Literal["digits"] = _kind("digits", "Digits", _IMAGES, "Handwritten digits, 8×8 pixels.")


class _PublishedImagesConfig(ByteImagesConfig, _ValidationConfig, frozen=True):
    folder: str = field("", title="Folder", help=_FOLDER, format="folder", advanced=True)


class MNISTConfig(_PublishedImagesConfig, frozen=True):
    """70,000 handwritten digits of 28×28 pixels (LeCun et al. 1998), padded to 32×32."""

    kind: Literal["mnist"] = _kind("mnist", "MNIST", _IMAGES, "MNIST: handwritten digits, 32×32 with margin.")


class FashionMNISTConfig(_PublishedImagesConfig, frozen=True):
    """70,000 pieces of clothing of 28×28 pixels (Xiao et al. 2017, arXiv 1708.07747), padded to 32×32."""

    kind: Literal["fashion_mnist"] = _kind(
        "fashion_mnist", "Fashion-MNIST", _IMAGES, "Fashion-MNIST: clothing, 32×32 with margin."
    )


class KMNISTConfig(_PublishedImagesConfig, frozen=True):
    """70,000 cursive Japanese characters of 28×28 pixels (Clanuwat et al. 2018, arXiv 1812.01718), padded to 32×32."""

    kind: Literal["kmnist"] = _kind("kmnist", "KMNIST", _IMAGES, "KMNIST: cursive characters, 32×32 with margin.")


class CIFAR10Config(_PublishedImagesConfig, frozen=True):
    """60,000 colour images of 32×32 pixels in ten classes (Krizhevsky 2009)."""

    kind: Literal["cifar10"] = _kind("cifar10", "CIFAR-10", _IMAGES, "CIFAR-10: colour images, 32×32 pixels.")


class CelebAConfig(ByteImagesConfig, frozen=True):
    """202,599 aligned faces (Liu et al. 2015), cropped to the middle 148 and resized to 64×64, its own three splits."""

    kind: Literal["celeba64"] = _kind("celeba64", "CelebA-64", _IMAGES, "CelebA: faces, 64×64 pixels.")
    folder: str = field(
        "",
        title="Folder",
        help="Holds img_align_celeba and list_eval_partition.txt; NFKD does not download CelebA.",
        format="folder",
    )


class ImageFolderConfig(ByteImagesConfig, _SplitConfig, frozen=True):
    """Any folder of images: the middle square of each, resized; sub-folders are its classes."""

    kind: Literal["image_folder"] = _kind("image_folder", "Folder of images", _IMAGES, "A folder of image files.")
    path: str = field("", title="Folder", help="Folder with the images, also in sub-folders.", format="folder")
    size: int = field(32, title="Size", help="Width and height after resizing.", unit="pixels", ge=2, le=1024)
    colour: bool = field(True, title="Colour", help="Three channels; otherwise one grey channel.")


class ImageStackConfig(ByteImagesConfig, _SplitConfig, frozen=True):
    """Images in one array: a .npy, .npz or .h5 file of whole numbers, (N, H, W), (N, C, H, W) or (N, H, W, C)."""

    kind: Literal["image_stack"] = _kind("image_stack", "Array of images", _IMAGES, "Images in one array file.")
    path: str = field("", title="File", help="A .npy, .npz or .h5 file.", format="file")
    key: str = field("", title="Array", help="Name of the array in the file; empty if it has only one.")
    labels_key: str = field("", title="Labels", help="Name of the array of class labels, if any.", advanced=True)
    levels: int = field(
        256, title="Levels", help="Number of levels of the stored values, which start at 0.", ge=2, le=256
    )


class NaturalCropsConfig(ByteImagesConfig, frozen=True):
    """32×32 colour crops of the two photographs that scikit-learn ships; the splits come from separate regions."""

    kind: Literal["natural_crops"] = _kind(
        "natural_crops", "Natural crops", _IMAGES, "Colour crops of photographs, 32×32 pixels."
    )
    count: int = field(8000, title="Crops", help="Number of training crops.", unit="crops", ge=100, le=1_000_000)
    split_seed: int = field(
        0, title="Crop seed", help="Decides where the crops are taken.", ge=0, lt=2**31, advanced=True
    )


# --- tables ----------------------------------------------------------------------------------------------------------


class NaturalPatchesConfig(Config, frozen=True):
    """8×8 grey patches of scikit-learn's photographs as 63 numbers, by BSDS300's procedure; splits by region."""

    kind: Literal["natural_patches"] = _kind(
        "natural_patches", "Natural patches", _TABLES, "Grey patches of photographs, 63 numbers each."
    )
    count: int = field(
        20_000, title="Patches", help="Number of training patches.", unit="patches", ge=100, le=2_000_000
    )
    split_seed: int = field(
        0, title="Patch seed", help="Seed of the patches' positions.", ge=0, lt=2**31, advanced=True
    )


class UCIConfig(Config, frozen=True):
    """A table of the archive of the MAF paper."""

    folder: str = field("", title="Folder", help=_FOLDER, format="folder", advanced=True)


class PowerConfig(UCIConfig, frozen=True):
    """UCI household power consumption, 6 columns, as MAF prepares it (arXiv 1705.07057)."""

    kind: Literal["power"] = _kind("power", "POWER", _TABLES, "POWER: household electricity, 6 columns.")


class GasConfig(UCIConfig, frozen=True):
    """UCI gas sensors, 8 columns, as MAF prepares it (arXiv 1705.07057)."""

    kind: Literal["gas"] = _kind("gas", "GAS", _TABLES, "GAS: chemical sensors, 8 columns.")


class HepmassConfig(UCIConfig, frozen=True):
    """UCI particle collisions, 21 columns, as MAF prepares it (arXiv 1705.07057)."""

    kind: Literal["hepmass"] = _kind("hepmass", "HEPMASS", _TABLES, "HEPMASS: particle collisions, 21 columns.")


class MiniBooNEConfig(UCIConfig, frozen=True):
    """UCI neutrino events, 43 columns, as MAF prepares it (arXiv 1705.07057)."""

    kind: Literal["miniboone"] = _kind("miniboone", "MINIBOONE", _TABLES, "MINIBOONE: neutrino events, 43 columns.")


class BSDS300Config(UCIConfig, frozen=True):
    """Natural image patches of 63 numbers, as MAF prepares them (arXiv 1705.07057)."""

    kind: Literal["bsds300"] = _kind("bsds300", "BSDS300", _TABLES, "BSDS300: image patches, 63 columns.")


class TableConfig(_SplitConfig, frozen=True):
    """Any table: CSV, TSV, Parquet, .npy or .h5, with conditioning columns and weights where wanted."""

    kind: Literal["table"] = _kind("table", "Table from a file", _TABLES, "A table of numbers from a file.")
    path: str = field("", title="File", help="A .csv, .tsv, .parquet, .npy or .h5 file.", format="file")
    key: str = field(
        "", title="Array", help="Name of the array in an .h5 file; empty if it has only one.", advanced=True
    )
    columns: tuple[str, ...] = field(
        (),
        title="Columns",
        help="Columns to model, by name or index from 0; none: all numbers not used below.",
        strict=False,
    )
    context: tuple[str, ...] = field(
        (), title="Conditioning", help="Columns that all flows get as context.", strict=False
    )
    weight: str = field("", title="Weights", help="A column with the weight of each row, if any.")
    missing: Literal["refuse", "drop", "median"] = field(
        "refuse", title="Missing values", help="Refuse the table, drop such rows, or fill in the training median."
    )
    dequantize: tuple[str, ...] = field(
        (),
        title="Dequantize",
        help="Columns with repeated values that get uniform noise of a step's width; auto: all that need it.",
        strict=False,
    )
    scaling: Scaling = field(
        "standard",
        title="Scaling",
        help="Standard: mean 0, deviation 1. Robust: median and quartiles. Quantile: to a Gaussian, not invertible.",
    )


# Unions of unions are flattened: their order is that of the form.
_PublishedImages = DigitsConfig | NaturalCropsConfig | MNISTConfig | FashionMNISTConfig | KMNISTConfig | CIFAR10Config
_Images = _PublishedImages | CelebAConfig | ImageFolderConfig | ImageStackConfig
_Shapes = TwoMoonsConfig | CirclesConfig | PinwheelConfig | SpiralsConfig | CheckerboardConfig | EightGaussiansConfig
_Plane = _Shapes | RingsConfig | LetterConfig | DrawnConfig
_UCI = PowerConfig | GasConfig | HepmassConfig | MiniBooNEConfig | BSDS300Config
DataConfig = Annotated[_Images | _Plane | NaturalPatchesConfig | _UCI | TableConfig, Field(discriminator="kind")]
