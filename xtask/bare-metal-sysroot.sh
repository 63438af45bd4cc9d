#!/usr/bin/env bash
# bare-metal-sysroot.sh: build core + alloc + compiler_builtins (rust-std) for bare-metal
# targets, where `rustup target add` cannot reach its server.
#
#   bare-metal-sysroot.sh OUT [TARGET...]      default target: thumbv7em-none-eabihf
#
# Source of the library: Debian's source package of the SAME rustc release (1.95.0: same commit
# 59807616e as rustup's stable), fetched with apt's own client and checked by SHA-256, or a local
# tarball/pruned library named by LIB_SRC (a .tar.xz holding library/).
# Result: OUT/<target>/lib/{libcore,liballoc,libcompiler_builtins}.rlib, which rustc finds with -L OUT/<target>/lib.
# The toolchain is left alone: beside what `rustup target add` may bring later, a second core would be ambiguous.
set -euo pipefail
OUT=$(realpath -m "${1:?usage: $0 OUT [TARGET...]}"); shift
TARGETS=("$@"); [ ${#TARGETS[@]} -gt 0 ] || TARGETS=(thumbv7em-none-eabihf)
TC=${RUST_TOOLCHAIN:-1.95.0}                      # a rustup toolchain name
RUSTC=${RUSTC:-$(rustup which --toolchain "$TC" rustc)}
CARGO=${CARGO:-$(rustup which --toolchain "$TC" cargo)}
export RUSTC
REL=$("$RUSTC" -Vv | sed -n 's/^release: //p'); HASH=$("$RUSTC" -Vv | sed -n 's/^commit-hash: //p' | cut -c1-9)
PKG=${DEB_SRC_PKG:-rustc}; SUITES=${DEB_SUITES:-sid forky trixie}
SHA_1_95_0=fee0a232c32b6f919b2166efc441a7c37884905bdcc2170163579eeed5feee6b
WORK=$(mktemp -d "${TMPDIR:-/tmp}/rust-bm.XXXXXX"); trap 'rm -rf "$WORK"' EXIT
mkdir -p "$OUT"

lib="$WORK/library"
want=('*/library/core' '*/library/alloc' '*/library/compiler-builtins' '*/library/portable-simd/crates/core_simd'
      '*/library/stdarch/crates/core_arch/src' '*/version' '*/COPYRIGHT' '*/LICENSE-APACHE' '*/LICENSE-MIT')
if [ -n "${LIB_SRC:-}" ]; then
  tar xf "$LIB_SRC" -C "$WORK"
else
  a="$WORK/apt"; mkdir -p "$a/parts" "$a/lists/partial" "$a/cache/archives/partial"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
  printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
     "${mirror%/}" "$SUITES" > "$a/parts/s.sources"
  APT=(-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$a/parts" -o Dir::State::lists="$a/lists"
       -o Dir::Cache="$a/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
  apt-get "${APT[@]}" -qq update
  ver=$(apt-cache "${APT[@]}" showsrc "$PKG" 2>/dev/null | sed -n "s/^Version: \($REL+.*\)/\1/p" | head -1)
  [ -n "$ver" ] || { echo "no Debian source package $PKG $REL in: $SUITES" >&2; exit 1; }
  read -r uri file size sum < <(apt-get "${APT[@]}" source --print-uris "$PKG=$ver" 2>/dev/null | grep "^'.*\.orig\.tar\.xz'")
  uri=${uri//\'/}
  [ "$REL" != 1.95.0 ] || [ "$sum" = "SHA256:$SHA_1_95_0" ] || { echo "unexpected $sum" >&2; exit 1; }
  /usr/lib/apt/apt-helper "${APT[@]}" download-file "$uri" "$WORK/orig.tar.xz" "$sum" >/dev/null
  tar xJf "$WORK/orig.tar.xz" -C "$WORK" --strip-components=1 --wildcards --no-wildcards-match-slash "${want[@]}"
  rm "$WORK/orig.tar.xz"
  grep -q "$HASH" "$WORK/version" || { echo "source $(cat "$WORK/version") is not rustc $REL $HASH" >&2; exit 1; }
  rm -rf "$lib"/{core,alloc}/{tests,benches} "$lib"/compiler-builtins/{ci,crates,etc,libm-test,builtins-test*,triagebot.toml,.github}
  # a pruned copy that needs no download next time (LIB_SRC=...)
  tar cJf "$OUT/library-$REL.tar.xz" -C "$WORK" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner library version COPYRIGHT LICENSE-APACHE LICENSE-MIT
fi

# a workspace of the three crates alone: no other dependency, so no registry is asked
cat > "$lib/Cargo.toml" <<'T'
[workspace]
resolver = "2"
members = ["core", "alloc", "compiler-builtins/compiler-builtins"]
exclude = ["stdarch", "portable-simd"]
[profile.release]
debug = 0
codegen-units = 1
[profile.release.package.compiler_builtins]
codegen-units = 10000
T
rm -f "$lib/Cargo.lock"
sed -i -e '/^cc = {/d' -e 's/^c = \["dep:cc"\]/c = []/' "$lib/compiler-builtins/compiler-builtins/Cargo.toml"
for t in "${TARGETS[@]}"; do
  s=$(date +%s)
  ( cd "$lib" && env -u RUSTFLAGS RUSTC_BOOTSTRAP=1 \
      CARGO_ENCODED_RUSTFLAGS=$'-Zforce-unstable-if-unmarked\x1f-Cembed-bitcode=yes\x1f-Awarnings' \
      "$CARGO" build --quiet --offline --manifest-path alloc/Cargo.toml --features compiler-builtins-mem \
      --release --target "$t" --target-dir "$WORK/target" )
  mkdir -p "$OUT/$t/lib"; rm -f "$OUT/$t/lib"/*.rlib
  cp "$WORK/target/$t/release/deps"/lib{core,alloc,compiler_builtins}-*.rlib "$OUT/$t/lib/"
  "$RUSTC" -V > "$OUT/$t/rustc-version"
  echo "$t: $(du -sh "$OUT/$t/lib" | cut -f1) in $(( $(date +%s) - s )) s"
done
