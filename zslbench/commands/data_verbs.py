"""`zslbench data`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

import zslbench
from zslbench.commands import completion, screen
from zslbench.commands import shared_options as shared
from zslbench.errors import BadValue
from zslbench.visible import format_count

if TYPE_CHECKING:
    from zslbench.data.import_archive import Installed

ADD_GROUPS = {
    "Your files": "features labels semantics classes splits from orientation",
    "Split made by zslbench": "unseen draw synonyms avoid-imagenet seed folds test-share",
    "Output": "",
}


FEATURES_GROUPS = {
    "Pictures": "images layout order skip-broken",
    "Network": "backbone weights crop precision batch device",
    "Output": "",
}


@shared.verb("zslbench data list", "zslbench data import ./xlsa17.zip", make=click.group)
def data() -> None:
    """See, fetch, import, add, verify and remove data sets."""


@shared.verb("zslbench data list", "zslbench data list --data-root ./xlsa17", name="list", make=data.command)
@shared.DATA_ROOT
def data_list(data_root: Path | None) -> None:
    """List the data sets and which of their files are on this machine."""
    listing = zslbench.data.list_(data_root)
    screen.show_table(listing.heads_of_columns, listing.rows, one_line=True)
    if any(not row.features for row in listing):
        screen.show_text(
            "to get what is missing: zslbench data fetch NAME, zslbench data import FILE, or --data-root DIR"
        )


@shared.verb("zslbench data fetch cub", "zslbench data fetch all", make=data.command)
@click.argument("name", shell_complete=completion.complete_catalogued)
@click.option("--sha256", metavar="HEX", help="Refuse an archive with a different sha256.")
@click.option("--url", metavar="URL", help="Download the archive from this address only.")
@click.option("--force", is_flag=True, help="Download the data set again even if it is installed.")
def fetch(name: str, **options: Any) -> None:
    """Download a data set from its authors' archive and install it; an interrupted download continues where it stopped.

    If the environment variable ZSLBENCH_MIRROR is set, the archive is first looked for there: it is the

    address of a folder or of the archive, or a file or folder on this machine.
    """
    _show_installed(zslbench.data.fetch(name, **options))


@shared.verb("zslbench data import ./xlsa17.zip", "zslbench data import ./xlsa17/CUB", name="import", make=data.command)
@click.argument("source", type=click.Path(path_type=Path))
def import_command(source: Path) -> None:
    """Install data sets from a zip archive or a folder."""
    _show_installed(zslbench.data.import_(source))


def _show_installed(rows: Sequence[Installed]) -> None:
    if not rows:
        screen.show_text("nothing to do: it is installed already; --force downloads it again")
    for row in rows:
        screen.show_text(f"installed {row.name} from {row.source}: {', '.join(row.files)} in {row.folder}")
    for checksum, note in dict.fromkeys((row.sha256, row.note) for row in rows if row.sha256):
        screen.show_text(f"sha256 of the archive: {checksum}" + (f"\n  ({note})" if note else ""))


@shared.verb(
    "zslbench data add my-birds --features x.npy --labels y.npy --semantics s.npy --classes names.txt --unseen 20%",
    "zslbench data add my-birds --features vgg19=./vgg.npz:x",
    "zslbench data add my-flowers --features flowers.npz --semantics words.npz",
    "zslbench data add my-birds --features x.npy --labels y.npy --semantics s.npy --unseen 10 --draw hard",
    "zslbench data add my-flowers --from ./FLO_PART",
    make=data.command,
    groups=ADD_GROUPS,
)
@click.argument("name")
@shared.names_option("--features", metavar="FILE|STEM=FILE", help="Image features: a matrix of n × d or d × n numbers.")
@click.option(
    "--labels",
    metavar="FILE",
    help="One label per image: a class number (from 0 or from 1) or a class name.  [default: those in the .npz of the "
    "features]",
)
@shared.names_option("--semantics", metavar="FILE|STEM=FILE", help="Semantics: one row (or column) per class.")
@click.option(
    "--classes",
    metavar="FILE",
    help="Class names in the order of the semantics, one per line.  [default: those in the .npz of the features]",
)
@click.option("--splits", metavar="FILE", help="Images or classes of each part: .json, .toml, .npz or .mat.")
@click.option(
    "--unseen",
    metavar="20%|N|CLASSES",
    help="Without --splits: which classes are unseen, as a share, a number of classes, or names or label numbers "
    "separated by commas.  [default: 20%, but 2 at least]",
)
@shared.choice_option(
    "--draw",
    choices=["random", "easy", "hard"],
    help="Which classes are drawn as unseen. random: any. easy: those with semantics near to, hard: far from those of "
    "seen classes; --seed only decides between equals. Dev folds are random.  [default: random]",
)
@click.option(
    "--synonyms",
    type=float,
    metavar="COSINE",
    help="Draw classes whose semantics have a higher cosine (mean of all classes subtracted) to one side.  [default: "
    "0.95 with easy and hard; random may part any]",
)
@click.option(
    "--avoid-imagenet", is_flag=True, help="Draw no class as unseen that is one of ImageNet's 1,000, by name."
)
@click.option("--seed", type=int, metavar="N", help="Seed of the split that zslbench makes.  [default: 0]")
@click.option("--folds", type=int, metavar="K", help="Draw K dev folds now; without it the dev stage draws three.")
@click.option(
    "--test-share", type=float, metavar="X", help="Share of the images of each seen class to test on.  [default: 0.2]"
)
@shared.path_option("--from", "source", metavar="DIR", help="An xlsa17-like folder to read instead of separate files.")
@shared.choice_option(
    "--orientation",
    show_default=False,
    choices=["auto", "rows", "columns"],
    default="auto",
    help="For a square matrix: whether images (or classes) are its rows or its columns.",
)
def add(name: str, features: tuple[str, ...], semantics: tuple[str, ...], **options: Any) -> None:
    """Install a data set of your own: features, labels and semantics as files, or an xlsa17-like folder.

    Files are .npy, .npz, .csv, .tsv, .mat, .h5 or .pt; FILE:KEY names one of several arrays. --features or --semantics
    alone add to a data set that was added before.
    """
    chosen = _by_stem(features, "features"), _by_stem(semantics, "semantics")
    report = zslbench.data.add(name, features=chosen[0], semantics=chosen[1], **options)
    added = report.added
    for remark in report.remarks:
        screen.show_text(remark)
    screen.show_text(f"added {added.name}: {added.summary}")
    screen.show_text(
        f"features: {', '.join(added.features)}; semantics: {', '.join(added.semantics)}; in {added.folder}"
    )
    screen.show_text(f"run on it with: zslbench run -m eszsl -d {added.name}")


def _by_stem(given: tuple[str, ...], role: str) -> str | dict[str, str] | None:
    """Return FILE, or what STEM=FILE and several files say: inputs by stem."""
    from zslbench.data.own.reading import split_key

    files: dict[str, str] = {}
    for text in given:
        stem, equals, rest = text.partition("=")
        if not equals or Path(text).exists() or "/" in stem or "\\" in stem:
            if len(given) == 1:
                return text
            stem, rest = split_key(text)[0].stem.removesuffix("_splits"), text
        if stem in files:
            raise BadValue(f"--{role} names {stem!r} twice; write --{role} NAME=FILE.")
        files[stem] = rest
    return files or None


@shared.verb(
    "zslbench data features --images ./flowers -o flowers.npz",
    "zslbench data add flowers --features flowers.npz --semantics att.csv",
    "zslbench data features --images ./flowers --backbone timm:resnet101 --backbone res101 -o 'flowers-{}.npz'",
    "zslbench data features --images ./CUB_200_2011 --layout cub --order ./xlsa17/CUB/res101.mat --backbone "
    "timm:vit_base_patch14_dinov2 -o ./xlsa17/CUB/dinov2.mat",
    make=data.command,
    groups=FEATURES_GROUPS,
)
@shared.path_option("--images", required=True, metavar="DIR", help="A folder with one folder of pictures per class.")
@click.option(
    "--backbone",
    multiple=True,
    default=["efficientnet-lite0"],
    metavar="NAME",
    help="efficientnet-lite0, -lite1 or -lite2 (installed with their weights), timm:NAME, torchvision:NAME, "
    "clip:ARCH/PRETRAINED (open_clip), or res101, the field's usual one. Repeatable: each picture is decoded once.",
)
@shared.path_option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Write features, labels and class names into this .npz, of which `data add` makes a data set; or a .mat in "
    "the xlsa17 format. {} in its name stands for the backbone, which several need.",
)
@shared.choice_option(
    "--crop",
    choices=["center", "ten"],
    default="center",
    help="center, or ten: the average over the centre, the corners and their mirror images.",
)
@shared.path_option("--weights", metavar="FILE", help="The state of the network: .pth, .pt, .bin or .safetensors.")
@shared.choice_option(
    "--precision",
    choices=["float32", "bf16", "fp16"],
    default="float32",
    help="Precision of the network's computations. Features are float32.",
)
@shared.choice_option(
    "--layout",
    choices=["cub", "awa2", "sun", "flo"],
    help="The folder is the authors' archive of this data set; take the order of its lists.",
)
@shared.path_option(
    "--order",
    metavar="FILE.mat",
    help="Take the order and the class numbers of image_files in this features file of the xlsa17 format (res101.mat), "
    "so that features fit its split; with --layout, att_splits.mat gives the class numbers.",
)
@click.option("--batch", type=int, default=32, metavar="N", help="How many pictures are processed at a time.")
@click.option("--device", default="cpu", help="cpu, cuda, cuda:N or mps.")
@click.option("--skip-broken", is_flag=True, help="Leave out pictures that cannot be read.")
@shared.QUIET
def features(images: Path, quiet: bool, **options: Any) -> None:
    """Turn pictures into features, labels and class names; needs the extra [features].

    Every finished batch is kept: if the command is interrupted or killed, the same command continues.
    """
    with screen.counted("pictures", quiet) as on_batch:
        extracted = zslbench.data.features(images, on_batch=on_batch, **options)
    for sentence in extracted.skipped:
        screen.show_text(f"left out: {sentence}")
    before = f" ({extracted.done_before:,} of them done before)" if extracted.done_before else ""
    count, classes = len(extracted.labels), len(extracted.class_names)
    screen.show_text(f"{format_count(count, 'picture')} of {format_count(classes, 'class')}{before}")
    for name, facts in extracted.facts.items():
        screen.show_text(f"{extracted.features[name].shape[1]} features each by {name}, {facts['preprocessing']}")
        if name in extracted.unchanged:
            screen.show_text(f"{extracted.written[name]} holds them already: same pictures, weights and settings")
        else:
            screen.show_written(extracted.written[name])


@shared.verb(
    "zslbench data semantics flowers.npz --encoder words:glove.6B.300d.txt -o words.npz",
    "zslbench data semantics my-birds --encoder clip:ViT-B-32/laion2b_s34b_b79k --template 'a photo of a {}.'",
    "zslbench data semantics my-birds --encoder tfidf --texts articles",
    "zslbench data semantics cub --encoder sentence:all-MiniLM-L6-v2 -o xlsa17/CUB/names_splits.mat",
    "zslbench run -m eszsl -d my-birds --semantics att+tfidf",
    name="semantics",
    make=data.command,
)
@click.argument("classes", shell_complete=completion.complete_datasets)
@click.option(
    "--encoder",
    required=True,
    metavar="ENCODER",
    help="tfidf or tfidf:COMPONENTS, words:FILE (GloVe, word2vec or fastText), sentence:MODEL (sentence-transformers) "
    "or clip:ARCH/PRETRAINED (open_clip).",
)
@shared.path_option(
    "--texts",
    help="Descriptions of the classes: a .csv, .json or .toml file, or a folder of files CLASS.txt.  [default: the "
    "names of the classes]",
)
@shared.names_option(
    "--template",
    "templates",
    metavar="TEXT",
    help="A prompt in which the name of a class replaces {}; several are averaged.",
)
@shared.path_option("--weights", help="A file of weights for a clip encoder.")
@shared.path_option(
    "-o",
    "--output",
    help="Write the semantics into an .npz, which `data add` takes, or into a NAME_splits.mat with the split of "
    "CLASSES.  [default: added to CLASSES, a data set of `data add`]",
)
@click.option("--stem", metavar="NAME", help="Name of the semantics that are added.  [default: tfidf, words, …]")
@click.option("--device", default="cpu", help="cpu, cuda, cuda:N or mps.")
@shared.DATA_ROOT
@shared.QUIET
def make_semantics(
    classes: str, templates: tuple[str, ...], data_root: Path | None, quiet: bool, **options: Any
) -> None:
    """Make semantics of class names or of texts on the classes.

    CLASSES is a data set, or a file of class names: an .npz of `data features`, or a .txt with one name per line.

    sentence and clip encoders need the extra [semantics].
    """
    with screen.counted("texts", quiet) as on_batch:
        made = zslbench.data.semantics(classes, templates=templates, root=data_root, on_batch=on_batch, **options)
    for remark in made.remarks:
        screen.show_text(remark)
    count, length = made.semantics.shape
    screen.show_text(f"{format_count(count, 'class')}: {length} semantics each by {made.facts['encoder']}")
    if made.added is not None:
        screen.show_text(f"added {made.stem} to {made.added.name}; choose it with: --semantics {made.stem}")
    else:
        screen.show_written(options["output"])


@shared.verb("zslbench data remove my-birds --yes", make=data.command)
@click.argument("name", shell_complete=completion.complete_datasets)
@click.option("--yes", is_flag=True, help="Required, since the arrays cannot be restored.")
def remove(name: str, yes: bool) -> None:
    """Remove a data set that `data add` installed; records of runs on it stay."""
    if not yes:
        raise BadValue(f"this deletes the arrays of {name!r} permanently; confirm it with --yes.")
    screen.show_text(f"removed {zslbench.data.remove(name)}; records of runs on it stay")


@shared.verb("zslbench data card cub", "zslbench data card my-birds -o card.html", make=data.command)
@click.argument("name", shell_complete=completion.complete_datasets)
@shared.CHOICES
@shared.DATA_ROOT
@click.option(
    "--near",
    type=float,
    default=0.99,
    metavar="COSINE",
    help="The cosine of features above which two images count as nearly equal.",
)
@shared.format_option(
    "terminal", "markdown", "html", "json", help="The format of the output; html is a whole page, with figures."
)
@shared.path_option("-o", "--output", help="Write to FILE; its ending .md, .html or .json is the format.")
@shared.QUIET
def card(name: str, format: str, output: Path | None, quiet: bool, **options: Any) -> None:
    """Show one page on a data set: counts, similar classes, overlap with ImageNet, duplicate images, sources.

    Every image is compared with every other one, which takes some minutes for 40,000 images.
    """
    with screen.counted("images", quiet) as on_images:
        made = zslbench.data.card(name, on_images=on_images, **options)
    if output is None:
        screen.show_text(made.write(format))
    else:
        made.write_file(output, made.write(format))
        screen.show_written(output)


@shared.verb("zslbench data verify", "zslbench data verify cub --data-root ./xlsa17", make=data.command)
@click.argument("name", required=False, shell_complete=completion.complete_datasets)
@shared.DATA_ROOT
def verify(name: str | None, data_root: Path | None) -> None:
    """Read data sets completely and check counts, splits and stored copies."""
    rows = zslbench.data.verify(name, data_root)
    if not rows:
        screen.show_text("no data set is on this machine; see zslbench data list")
    screen.show_table(rows.heads_of_columns, rows.rows, one_line=True)
    if not all(row.ok for row in rows):
        sys.exit(shared.FAILED)
