"""Configs of the data: one model for each data set or kind of file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import Field

from nfkd.config.base import Config, field
from nfkd.config.splits import SplitConfig, Storage, ValidationConfig, kind_field, storage_field
from nfkd.config.tables import TableConfig

_Point = Annotated[tuple[float, float], Field(strict=False)]  # TOML arrays arrive as lists
_IMAGES, _PLANE, _TABLES = "Images", "In the plane", "Tables"

# --- densities in the plane ------------------------------------------------------------------------------------------


class _PlaneConfig(SplitConfig, frozen=True):
    count: int = field(
        6000, title="Points", help="Number of points in all, before the split.", unit="points", ge=100, le=1_000_000
    )
    noise: float = field(
        0.08, title="Noise", help="Standard deviation of the Gaussian noise around the shape.", ge=0.0, le=1.0
    )


class TwoMoonsConfig(_PlaneConfig, frozen=True):
    """Two interleaved half circles in the plane."""

    kind: Literal["two_moons"] = kind_field("two_moons", "Two moons", _PLANE, "Two half circles in the plane.")


class CirclesConfig(_PlaneConfig, frozen=True):
    """Two concentric circles in the plane."""

    kind: Literal["circles"] = kind_field("circles", "Circles", _PLANE, "Two concentric circles in the plane.")


class PinwheelConfig(_PlaneConfig, frozen=True):
    """Bent arms around the centre (Johnson et al. 2016, arXiv 1603.06277)."""

    kind: Literal["pinwheel"] = kind_field("pinwheel", "Pinwheel", _PLANE, "Bent arms around the centre.")
    arms: int = field(5, title="Arms", help="Number of arms.", ge=1, le=50)


class SpiralsConfig(_PlaneConfig, frozen=True):
    """Two spirals in the plane."""

    kind: Literal["spirals"] = kind_field("spirals", "Spirals", _PLANE, "Two spirals in the plane.")


class CheckerboardConfig(_PlaneConfig, frozen=True):
    """The dark squares of a checkerboard, uniformly filled."""

    kind: Literal["checkerboard"] = kind_field("checkerboard", "Checkerboard", _PLANE, "The dark squares of a board.")
    noise: float = field(
        0.0, title="Noise", help="Standard deviation of the Gaussian noise on the squares.", ge=0.0, le=1.0
    )


class EightGaussiansConfig(_PlaneConfig, frozen=True):
    """Eight Gaussians on a circle."""

    kind: Literal["eight_gaussians"] = kind_field(
        "eight_gaussians", "Eight Gaussians", _PLANE, "Eight Gaussians on a circle."
    )
    noise: float = field(0.2, title="Noise", help="Standard deviation of each Gaussian.", gt=0.0, le=1.0)


class RingsConfig(_PlaneConfig, frozen=True):
    """Concentric rings of equal density along their lines."""

    kind: Literal["rings"] = kind_field("rings", "Rings", _PLANE, "Concentric rings.")
    rings: int = field(4, title="Rings", help="Number of rings.", ge=1, le=20)


class LetterConfig(_PlaneConfig, frozen=True):
    """A letter of the alphabet, uniformly filled."""

    kind: Literal["letter"] = kind_field("letter", "Letter", _PLANE, "A letter, uniformly filled.")
    letter: str = field("S", title="Letter", help="One character of the font.", min_length=1, max_length=1)
    noise: float = field(
        0.02, title="Noise", help="Standard deviation of the Gaussian noise on the letter.", ge=0.0, le=1.0
    )


class DrawnConfig(_PlaneConfig, frozen=True):
    """Points that the user draws; examples are drawn around them."""

    kind: Literal["drawn"] = kind_field("drawn", "Drawn by you", _PLANE, "Points that you draw in the plane.")
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
    label_dropping: float = field(
        0.0,
        title="Label dropping",
        help="Share of training images whose label is replaced by the mean of all labels, such as 0.1: TarFlow's "
        "guidance by classes needs it.",
        format="share",
        zero="off",
        ge=0.0,
        lt=1.0,
        advanced=True,
        needs={".class_labels": True},
    )
    noise: Literal["uniform", "gaussian"] = field(
        "uniform",
        title="Noise",
        help="Uniform noise makes levels continuous, and gives likelihoods in bits/dim. Gaussian noise gives TarFlow "
        "better samples, after denoising; likelihoods are then those of the noisy images.",
        advanced=True,
    )
    noise_scale: float = field(
        0.05,
        title="Noise scale",
        help="Standard deviation of the Gaussian noise, for images from −1 to 1: 0.05 for 64×64 and 0.15 for 128×128 "
        "in TarFlow's paper.",
        gt=0.0,
        le=1.0,
        advanced=True,
        needs={".noise": ("gaussian",)},
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

    @property
    def gaussian_noise(self) -> float:
        """Standard deviation of the Gaussian noise for images in [0, 1); zero for uniform noise."""
        return self.noise_scale / 2 if self.noise == "gaussian" else 0.0


class ByteImagesConfig(_ImagesConfig, frozen=True):
    """Images with up to 8 bits a channel."""

    bits: int = field(
        8, title="Bits", help="Bits that are kept of each channel.", unit="bits", ge=1, le=8, advanced=True
    )


_FOLDER = "Folder of the files, packed or not; empty: NFKD's cache of downloads."


class DigitsConfig(_ImagesConfig, SplitConfig, frozen=True):
    """1,797 handwritten digits of 8×8 pixels and 17 grey levels (scikit-learn's copy of UCI optdigits)."""

    kind: Literal["digits"] = kind_field("digits", "Digits", _IMAGES, "Handwritten digits, 8×8 pixels.")


class _PublishedImagesConfig(ByteImagesConfig, ValidationConfig, frozen=True):
    folder: str = field("", title="Folder", help=_FOLDER, format="folder", advanced=True)


class MNISTConfig(_PublishedImagesConfig, frozen=True):
    """70,000 handwritten digits of 28×28 pixels (LeCun et al. 1998), padded to 32×32."""

    kind: Literal["mnist"] = kind_field("mnist", "MNIST", _IMAGES, "MNIST: handwritten digits, 32×32 with margin.")


class FashionMNISTConfig(_PublishedImagesConfig, frozen=True):
    """70,000 pieces of clothing of 28×28 pixels (Xiao et al. 2017, arXiv 1708.07747), padded to 32×32."""

    kind: Literal["fashion_mnist"] = kind_field(
        "fashion_mnist", "Fashion-MNIST", _IMAGES, "Fashion-MNIST: clothing, 32×32 with margin."
    )


class KMNISTConfig(_PublishedImagesConfig, frozen=True):
    """70,000 cursive Japanese characters of 28×28 pixels (Clanuwat et al. 2018, arXiv 1812.01718), padded to 32×32."""

    kind: Literal["kmnist"] = kind_field("kmnist", "KMNIST", _IMAGES, "KMNIST: cursive characters, 32×32 with margin.")


class CIFAR10Config(_PublishedImagesConfig, frozen=True):
    """60,000 colour images of 32×32 pixels in ten classes (Krizhevsky 2009)."""

    kind: Literal["cifar10"] = kind_field("cifar10", "CIFAR-10", _IMAGES, "CIFAR-10: colour images, 32×32 pixels.")


class CelebAConfig(ByteImagesConfig, frozen=True):
    """202,599 aligned faces (Liu et al. 2015), cropped to the middle 148 and resized to 64×64, its own three splits."""

    kind: Literal["celeba64"] = kind_field("celeba64", "CelebA-64", _IMAGES, "CelebA: faces, 64×64 pixels.")
    folder: str = field(
        "",
        title="Folder",
        help="Holds img_align_celeba and list_eval_partition.txt; NFKD does not download CelebA.",
        format="folder",
    )


class ImageFolderConfig(ByteImagesConfig, SplitConfig, frozen=True):
    """Any folder of images: the middle square of each, resized; sub-folders are its classes."""

    kind: Literal["image_folder"] = kind_field("image_folder", "Folder of images", _IMAGES, "A folder of image files.")
    path: str = field("", title="Folder", help="Folder with the images, also in sub-folders.", format="folder")
    size: int = field(32, title="Size", help="Width and height after resizing.", unit="pixels", ge=2, le=1024)
    colour: bool = field(True, title="Colour", help="Three channels; otherwise one grey channel.")
    storage: Storage = storage_field()


class ImageStackConfig(ByteImagesConfig, SplitConfig, frozen=True):
    """Images in one array: a .npy, .npz or .h5 file of whole numbers, (N, H, W), (N, C, H, W) or (N, H, W, C)."""

    kind: Literal["image_stack"] = kind_field("image_stack", "Array of images", _IMAGES, "Images in one array file.")
    path: str = field("", title="File", help="A .npy, .npz or .h5 file.", format="file")
    key: str = field("", title="Array", help="Name of the array in the file; empty if it has only one.")
    labels_key: str = field("", title="Labels", help="Name of the array of class labels, if any.", advanced=True)
    levels: int = field(
        256, title="Levels", help="Number of levels of the stored values, which start at 0.", ge=2, le=256
    )


class NaturalCropsConfig(ByteImagesConfig, frozen=True):
    """32×32 colour crops of the two photographs that scikit-learn ships; the splits come from separate regions."""

    kind: Literal["natural_crops"] = kind_field(
        "natural_crops", "Natural crops", _IMAGES, "Colour crops of photographs, 32×32 pixels."
    )
    count: int = field(8000, title="Crops", help="Number of training crops.", unit="crops", ge=100, le=1_000_000)
    split_seed: int = field(
        0, title="Crop seed", help="Decides where the crops are taken.", ge=0, lt=2**31, advanced=True
    )


# --- tables ----------------------------------------------------------------------------------------------------------


class NaturalPatchesConfig(Config, frozen=True):
    """8×8 grey patches of scikit-learn's photographs as 63 numbers, by BSDS300's procedure; splits by region."""

    kind: Literal["natural_patches"] = kind_field(
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

    kind: Literal["power"] = kind_field("power", "POWER", _TABLES, "POWER: household electricity, 6 columns.")


class GasConfig(UCIConfig, frozen=True):
    """UCI gas sensors, 8 columns, as MAF prepares it (arXiv 1705.07057)."""

    kind: Literal["gas"] = kind_field("gas", "GAS", _TABLES, "GAS: chemical sensors, 8 columns.")


class HepmassConfig(UCIConfig, frozen=True):
    """UCI particle collisions, 21 columns, as MAF prepares it (arXiv 1705.07057)."""

    kind: Literal["hepmass"] = kind_field("hepmass", "HEPMASS", _TABLES, "HEPMASS: particle collisions, 21 columns.")


class MiniBooNEConfig(UCIConfig, frozen=True):
    """UCI neutrino events, 43 columns, as MAF prepares it (arXiv 1705.07057)."""

    kind: Literal["miniboone"] = kind_field(
        "miniboone", "MINIBOONE", _TABLES, "MINIBOONE: neutrino events, 43 columns."
    )


class BSDS300Config(UCIConfig, frozen=True):
    """Natural image patches of 63 numbers, as MAF prepares them (arXiv 1705.07057)."""

    kind: Literal["bsds300"] = kind_field("bsds300", "BSDS300", _TABLES, "BSDS300: image patches, 63 columns.")


# Unions of unions are flattened: their order is that of the form.
_PublishedImages = DigitsConfig | NaturalCropsConfig | MNISTConfig | FashionMNISTConfig | KMNISTConfig | CIFAR10Config
_Images = _PublishedImages | CelebAConfig | ImageFolderConfig | ImageStackConfig
_Shapes = TwoMoonsConfig | CirclesConfig | PinwheelConfig | SpiralsConfig | CheckerboardConfig | EightGaussiansConfig
_Plane = _Shapes | RingsConfig | LetterConfig | DrawnConfig
_UCI = PowerConfig | GasConfig | HepmassConfig | MiniBooNEConfig | BSDS300Config
DataConfig = Annotated[_Images | _Plane | NaturalPatchesConfig | _UCI | TableConfig, Field(discriminator="kind")]


def _kinds(models: Iterable[type[Config]]) -> tuple[str, ...]:
    return tuple(model.model_fields["kind"].default for model in models)


IMAGE_KINDS = _kinds(get_args(_Images))
"""Kinds of data whose examples are images."""
VECTOR_KINDS = tuple(kind for kind in _kinds(get_args(get_args(DataConfig)[0])) if kind not in IMAGE_KINDS)
"""Kinds of data whose examples are vectors."""
