"""`otter-export`: checkpoints to packages, and packages compared with their checkpoints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from otter_desktop.errors import OtterError
from otter_desktop.manifest import ALBUM_TEMPLATES, FITS, TEMPLATES

SCHEMES = ("f32", "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 done, 1 verification failed, 2 the user can do something."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except OtterError as error:
        print(f"otter-export: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("otter-export: stopped.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; parsed arguments carry `run`, which returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="otter-export", description="Checkpoints of Otter models to packages and back-checks."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    convert = commands.add_parser("convert", help="write the package of a checkpoint")
    convert.add_argument("checkpoint", type=Path, help="a checkpoint's folder")
    convert.add_argument("out", type=Path, help="the package folder to make")
    _tokenizer_option(convert)
    convert.add_argument("--quantize", choices=SCHEMES, default="q8_0", help="default: q8_0")
    convert.add_argument("--name", help="the package's name (default: from the checkpoint)")
    convert.add_argument("--title", help="the name that people see")
    convert.add_argument("--licence", help="the licence of the weights")
    convert.add_argument("--source", help="where the weights come from")
    convert.add_argument("--domain", help="what the model knows, in words")
    convert.add_argument("--template", choices=TEMPLATES, help="how a question is written")
    convert.add_argument("--album-template", choices=ALBUM_TEMPLATES)
    convert.add_argument("--fit", choices=FITS, help="how a picture becomes a square")
    convert.add_argument("--max-frames", type=int, help="the most frames of a clip")
    convert.set_defaults(run=_convert)
    verify = commands.add_parser("verify", help="compare a package with its checkpoint")
    verify.add_argument("checkpoint", type=Path)
    verify.add_argument("package", type=Path)
    _tokenizer_option(verify)
    verify.add_argument("--golden", type=Path, help="what the original computed on the checkpoint")
    verify.set_defaults(run=_verify)
    quantize = commands.add_parser("quantize", help="write a package with other number formats")
    quantize.add_argument("package", type=Path, help="a package, best with f32 or f16 weights")
    quantize.add_argument("out", type=Path, help="the package folder to make")
    quantize.add_argument("scheme", choices=SCHEMES)
    quantize.add_argument("--name", help="the new package's name (default: the same)")
    quantize.set_defaults(run=_quantize)
    return parser


def _tokenizer_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer", type=Path, metavar="DIR", help="the base language model's tokenizer"
    )


def _convert(options: argparse.Namespace) -> int:
    # torch takes seconds to import: --help does not wait for it.
    from dataclasses import replace

    from export.checkpoints import open_checkpoint
    from export.package import convert

    checkpoint = open_checkpoint(options.checkpoint, tokenizer=options.tokenizer)
    details = checkpoint.details.changed(
        name=options.name,
        title=options.title,
        licence=options.licence,
        source=options.source,
        domain=options.domain,
        template=options.template,
        album_template=options.album_template,
        fit=options.fit,
        max_frames=options.max_frames,
    )
    manifest = convert(
        replace(checkpoint, details=details),
        options.out,
        scheme=options.quantize,
        progress=lambda step: print(f"writing the {step} …", file=sys.stderr),
    )
    print(f"{options.out}: {manifest.size_bytes / 1e6:.1f} MB, {manifest.quantization}")
    return 0


def _quantize(options: argparse.Namespace) -> int:
    from export.package import requantize

    manifest = requantize(options.package, options.out, scheme=options.scheme, name=options.name)
    print(f"{options.out}: {manifest.size_bytes / 1e6:.1f} MB, {manifest.quantization}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from export.checkpoints import open_checkpoint
    from export.golden import read_golden
    from export.verify import Difference, verify

    golden = read_golden(options.golden) if options.golden else None
    checkpoint = open_checkpoint(options.checkpoint, tokenizer=options.tokenizer)
    worst: dict[str, Difference] = {}
    failed = 0
    for found in verify(checkpoint, options.package, golden):
        mark = "ok  " if found.passed else "FAIL"
        print(
            f"{mark} {found.stage:<18} {found.case:<24} {found.largest:.2e} "
            f"(allowed {found.tolerance:.0e})"
        )
        failed += not found.passed
        if not found.largest <= worst.get(found.stage, found).largest or found.stage not in worst:
            worst[found.stage] = found
    for stage, found in worst.items():
        print(f"largest difference in {stage}: {found.largest:.2e} ({found.case})")
    if failed:
        print(f"otter-export: {failed} comparisons are past tolerance.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
