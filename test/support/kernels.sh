#!/bin/sh
# Makes a folder of real kernels, their BTF and their modules, from Debian's packages of kernel images:
#
#   sh kernels.sh DIR
#
#   DIR/RELEASE.btf            BTF of the kernel RELEASE (6.1.0-56-cloud-amd64), as a raw blob
#   DIR/RELEASE/vmlinux        the uncompressed kernel
#   DIR/RELEASE/config         its configuration
#   DIR/RELEASE/modules/*.ko   all its modules, in one folder, with BTF that is split over the kernel's
#
# The kernels are the newest and the oldest 6.1 that the archive has (two builds of one series, whose layouts differ a
# little) and the newest 6.12. Needs llvm-objcopy-19, xz, zstd, dpkg-dev's tools, the network for three packages of 30 MB,
# and 700 MB of room. What is there already is not made again, and then newer packages are not looked for.
set -eu

[ $# -eq 1 ] || { echo "usage: sh kernels.sh DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
jobs=${JOBS:-$(nproc)}
objcopy=${LLVM_OBJCOPY:-llvm-objcopy-19}
mkdir -p "$dir/deb"

# packages SERIES: the names of the archive's packages of this series, oldest first.
packages() {
	apt-cache pkgnames "linux-image-$1" | grep -E "^linux-image-$1\.[0-9.]+([-+][0-9a-z]+)?-cloud-amd64\$" | sort -V
}

if [ ! -e "$dir/chosen" ]; then
	[ -n "$(packages 6.1)" ] || apt-get update >&2
	{ packages 6.1 | sed -n '1p;$p' | uniq; packages 6.12 | sed -n '$p'; } >"$dir/chosen.new"
	grep -q 'linux-image-6\.1\.' "$dir/chosen.new" && grep -q 'linux-image-6\.12\.' "$dir/chosen.new" ||
		{ echo "the archive of packages has no kernels 6.1 and 6.12" >&2; exit 1; }
	mv "$dir/chosen.new" "$dir/chosen"
fi

# number FILE OFFSET BYTES: an unsigned little-endian number in FILE.
number() {
	od -A n -t "u$3" --endian=little -j "$2" -N "$3" "$1" | tr -d ' '
}

# bytes FILE OFFSET LENGTH: a part of FILE.
bytes() {
	tail -c "+$(($2 + 1))" "$1" | head -c "$3"
}

# unpack IMAGE OUT: the kernel inside a bzImage. Where it lies is written in the image's header (Documentation/arch/x86/
# boot.rst): setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c. All but gzip have four bytes more, the
# size of what comes out.
unpack() {
	start=$((($(number "$1" 497 1) + 1) * 512 + $(number "$1" 584 4)))
	length=$(number "$1" 588 4)
	case $(bytes "$1" "$start" 4 | od -A n -t x1 | tr -d ' ') in
	1f8b*) bytes "$1" "$start" "$length" | gzip -dc ;;
	fd377a58) bytes "$1" "$start" $((length - 4)) | xz -dc ;;
	28b52ffd) bytes "$1" "$start" $((length - 4)) | zstd -dc ;;
	02214c18) bytes "$1" "$start" $((length - 4)) | lz4 -dc ;;
	*) echo "$1: the kernel inside is compressed in a way that is not known" >&2; return 1 ;;
	esac >"$2"
}

while read -r package; do
	release=${package#linux-image-}
	if [ ! -e "$dir/$release.btf" ]; then
		into=$dir/$release
		rm -rf "$into"
		mkdir -p "$into/package" "$into/modules"
		cd "$dir/deb"
		ls "${package}"_*.deb >/dev/null 2>&1 ||
			apt-get download "$package" >&2 || { apt-get update >&2 && apt-get download "$package" >&2; }
		dpkg-deb --fsys-tarfile "${package}"_*.deb | tar -x -C "$into/package"
		unpack "$into/package/boot/vmlinuz-$release" "$into/vmlinux"
		mv "$into/package/boot/config-$release" "$into/config"
		find "$into/package" \( -name '*.ko' -o -name '*.ko.xz' \) -exec mv -t "$into/modules" {} +
		find "$into/modules" -name '*.xz' -print0 | xargs -0 -r -n 64 -P "$jobs" xz -d
		rm -rf "$into/package"
		"$objcopy" --dump-section ".BTF=$dir/$release.new" "$into/vmlinux" /dev/null
		mv "$dir/$release.new" "$dir/$release.btf"
	fi
	echo "$release: BTF of $(wc -c <"$dir/$release.btf") bytes, $(find "$dir/$release/modules" -name '*.ko' | wc -l) modules"
done <"$dir/chosen"
