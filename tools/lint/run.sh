#!/bin/sh
# Format, lint, Effect diagnostics and package checks, with the tools of tools/lint/package.json.
#   sh tools/lint/run.sh             check all, change nothing
#   sh tools/lint/run.sh --fix       format and mend what can be mended, then report the rest
#   sh tools/lint/run.sh --package   check the package as it would be published (after npm run build)
# The tools are installed on first use and when their versions change, apart from the main lock file: some registries
# lack some of their platform binaries, and npm would write a lock that the next npm ci refuses.
set -eu
cd "$(dirname "$0")/../.."
tools=tools/lint
mode=${1:-}
case "$mode" in
"" | --fix | --package) ;;
*)
  echo "usage: sh tools/lint/run.sh [--fix | --package]" >&2
  exit 2
  ;;
esac

[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci
PATH="$PWD/$tools/node_modules/.bin:$PWD/node_modules/.bin:$PATH"
export PATH

stamp=$tools/node_modules/.installed.json
if ! cmp -s $tools/package.json $stamp; then
  echo "lint: installing the tools of $tools/package.json" >&2
  rm -f $stamp
  npm install --prefix $tools --no-package-lock --ignore-scripts --no-fund --no-audit --loglevel=error
  cp $tools/package.json $stamp
fi

failed=""
# part NAME COMMAND...: runs all parts even if one fails, so that one run shows everything.
part() {
  name=$1
  shift
  if "$@"; then
    echo "lint: $name ok"
  else
    echo "lint: $name FAILED" >&2
    failed="$failed $name"
  fi
}

if [ "$mode" = --package ]; then
  part publint publint run . --strict
  part types attw --pack . --profile esm-only
else
  # The compiled format plugins are kept beside the tools, not in the user's home.
  DPRINT_CACHE_DIR=$PWD/$tools/node_modules/.cache/dprint
  export DPRINT_CACHE_DIR
  if [ "$mode" = --fix ]; then
    part lint oxlint --type-aware --fix .
    part format dprint fmt
  else
    part format dprint check
    part lint oxlint --type-aware .
  fi
  # Effect's build of tsc reports its own diagnostics beside the compiler's.
  part effect "$(effect-tsgo get-exe-path)" --noEmit -p $tools/tsconfig.effect.json
fi

if [ -n "$failed" ]; then
  echo "lint: failed:$failed" >&2
  exit 1
fi
