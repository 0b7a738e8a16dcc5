#!/usr/bin/env bash
# Packs the shipped build: the program, its manual pages, completions, unit and documents, and a checksum beside the archive.
# Usage: packaging/package.sh PROGRAM TARGET OUTPUT-DIRECTORY
set -euo pipefail

program=$1 target=$2 output=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=$("$program" --version | cut -d ' ' -f 2)
name="chatsphere-$version-$target"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

folder="$work/$name"
mkdir -p "$folder/completions" "$folder/man" "$output"
install -m 0755 "$program" "$folder/chatsphere"
"$program" man --directory "$folder/man"
for shell in bash fish zsh; do
  "$program" completions "$shell" >"$folder/completions/chatsphere.$shell"
done
cp "$root/packaging/chatsphere.service" "$root/LICENSE" "$root/README.md" "$root/CHANGELOG.md" "$folder/"
cp -r "$root/docs" "$folder/docs"
# Without the names and times of this machine, so that the same sources give the same archive.
tar --create --gzip --file "$output/$name.tar.gz" --directory "$work" \
  --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" "$name"
(cd "$output" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$output/$name.tar.gz"
