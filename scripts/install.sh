#!/bin/sh
# Installs limanet: one executable, its man pages and shell completions. Needs no Node, no Bun, and no network when the
# files are at hand.
#
# Usage: install.sh [--from PLACE] [--prefix FOLDER] [--vmnet] [--signers FILE]
#        install.sh --uninstall [--prefix FOLDER]
#   --from PLACE      an http(s) address of a folder, a folder, or limanet-VERSION-airgap.tar; by default the variable
#                     LIMANET_FROM, or the folder of this script when it holds SHA256SUMS
#   --prefix FOLDER   default: /usr/local for root, else ~/.local
#   --vmnet           also a copy that belongs to root, for shared, host and bridged networks (asks sudo), and what to do then
#   --signers FILE    whose signature of SHA256SUMS counts (ssh-keygen's "allowed signers"); then there must be one
#   --uninstall       removes what an earlier run with the same prefix has installed
set -eu

ROOT_FOLDER=${LIMANET_ROOT_FOLDER:-/opt/limanet/bin}
work=

say() { printf '%s\n' "install: $*"; }
fail() {
	printf '%s\n' "install: $*" >&2
	exit 1
}
usage() {
	sed -n '5,14s/^# \{0,1\}//p' "$0" >&2
	exit 2
}
clean() { if [ -n "$work" ]; then rm -rf "$work"; fi; }
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# linux-x64, darwin-arm64, linux-x64-musl and so on
platform() {
	case "$(uname -s)" in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	*) fail "Cannot install on $(uname -s): only Linux and macOS are known" ;;
	esac
	case "$(uname -m)" in
	x86_64 | amd64) arch=x64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) fail "Cannot install on a machine of kind $(uname -m): only x86-64 and 64-bit ARM are known" ;;
	esac
	# a shell that runs translated says x86_64
	if [ "$os" = darwin ] && [ "$(sysctl -n hw.optional.arm64 2>/dev/null || true)" = 1 ]; then arch=arm64; fi
	libc=
	if [ "$os" = linux ] && ! [ -e /lib64/ld-linux-x86-64.so.2 ] && ! [ -e /lib/ld-linux-aarch64.so.1 ]; then
		for loader in /lib/ld-musl-*; do if [ -e "$loader" ]; then libc=-musl; fi; done
	fi
	echo "$os-$arch$libc"
}

# fetch NAME: a file of the place into the work folder; 1 when it is not there
fetch() {
	case "$from" in
	http://* | https://*)
		if command -v curl >/dev/null; then
			curl --fail --silent --show-error --location --retry 2 -o "$work/$1.part" "${from%/}/$1" 2>"$work/problem" || return 1
		elif command -v wget >/dev/null; then
			wget -q -O "$work/$1.part" "${from%/}/$1" 2>"$work/problem" || return 1
		else
			fail "Cannot fetch $from: neither curl nor wget is there (install one, or take the air-gapped bundle)"
		fi
		mv "$work/$1.part" "$work/$1"
		;;
	*)
		[ -f "$from/$1" ] || return 1
		cp "$from/$1" "$work/$1"
		;;
	esac
}

sum_of() {
	if command -v sha256sum >/dev/null; then
		sha256sum "$1"
	elif command -v shasum >/dev/null; then
		shasum -a 256 "$1"
	elif command -v openssl >/dev/null; then
		openssl dgst -sha256 -r "$1"
	else
		fail "Cannot check $1: none of sha256sum, shasum and openssl is there"
	fi | cut -d ' ' -f 1
}

# take NAME: fetches a file and compares it with SHA256SUMS; 1 when it is not listed or not there
take() {
	expected=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$(printf %s "$1" | sed 's/[.]/\\./g')\$/\1/p" "$work/SHA256SUMS")
	[ -n "$expected" ] || return 1
	fetch "$1" || return 1
	found=$(sum_of "$work/$1")
	[ "$found" = "$expected" ] ||
		fail "Cannot install $1: its SHA-256 is $found, not $expected as SHA256SUMS says (fetch it again; if it stays so, tell whoever offers it)"
}

check_signature() {
	if ! fetch SHA256SUMS.sig; then
		[ -z "$signers" ] || fail "Cannot trust $from: SHA256SUMS has no signature there (leave --signers away to do without)"
		return
	fi
	if [ -z "$signers" ]; then
		say "SHA256SUMS is signed; the signature was not looked at (--signers FILE says whose counts)"
		return
	fi
	command -v ssh-keygen >/dev/null || fail "Cannot check the signature: ssh-keygen is not there"
	ssh-keygen -Y verify -f "$signers" -I limanet -n limanet-release -s "$work/SHA256SUMS.sig" \
		<"$work/SHA256SUMS" >/dev/null 2>"$work/problem" ||
		fail "Cannot trust SHA256SUMS: its signature is of nobody in $signers"
	say "SHA256SUMS is signed by who is in $signers"
}

# put FILE MODE PLACE: the new file in the old one's place at once, since a program may be using it
put() {
	if ! { mkdir -p "$(dirname "$3")" && cp "$1" "$3.$$" && chmod "$2" "$3.$$" && mv "$3.$$" "$3"; }; then
		fail "Cannot write $3 (choose another --prefix, or install as root)"
	fi
	echo "$3" >>"$work/installed"
}

uninstall() {
	list=$prefix/share/limanet/installed
	[ -f "$list" ] || fail "Cannot uninstall from $prefix: nothing of ours is listed in $list (is the prefix another?)"
	while read -r file; do
		case "$file" in
		"$prefix"/*) rm -f "$file" ;;
		esac
	done <"$list"
	rm -f "$list"
	for folder in doc/limanet/docs doc/limanet limanet/guest limanet; do rmdir "$prefix/share/$folder" 2>/dev/null || true; done
	say "limanet is gone from $prefix; instances and settings (~/.lima) stay"
	if [ -e "$ROOT_FOLDER/socket_vmnet" ]; then
		say "root's copy is still there: sudo rm $ROOT_FOLDER/socket_vmnet; and the sudoers file: sudo rm /etc/sudoers.d/limanet"
	fi
}

install_for_root() {
	sudo=
	if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
	# a name that Lima's own configuration knows, in a folder where nobody but root can put another program
	# the folder first: whoever had it before puts no link in the copy's way then
	if ! { $sudo mkdir -p "$ROOT_FOLDER" && $sudo chown 0:0 "$ROOT_FOLDER" && $sudo chmod 755 "$ROOT_FOLDER" &&
		$sudo rm -f "$ROOT_FOLDER/socket_vmnet.new" &&
		$sudo cp "$work/$executable" "$ROOT_FOLDER/socket_vmnet.new" &&
		$sudo chown 0:0 "$ROOT_FOLDER/socket_vmnet.new" && $sudo chmod 755 "$ROOT_FOLDER/socket_vmnet.new" &&
		$sudo mv "$ROOT_FOLDER/socket_vmnet.new" "$ROOT_FOLDER/socket_vmnet"; }; then
		fail "Cannot install $ROOT_FOLDER/socket_vmnet: sudo did not do it"
	fi
	cat <<-END
		install: $ROOT_FOLDER/socket_vmnet belongs to root. To let networks start it without a password:
		  limanet sudoers >etc_sudoers.d_limanet
		  sudo install -o root etc_sudoers.d_limanet /etc/sudoers.d/limanet
		  limanet sudoers --check
	END
}

from=${LIMANET_FROM:-}
prefix=
signers=
vmnet=no
mode=install
while [ $# -gt 0 ]; do
	case "$1" in
	--from | --prefix | --signers)
		[ $# -ge 2 ] || usage
		case "$1" in --from) from=$2 ;; --prefix) prefix=$2 ;; --signers) signers=$2 ;; esac
		shift
		;;
	--vmnet) vmnet=yes ;;
	--uninstall) mode=uninstall ;;
	*) usage ;;
	esac
	shift
done
if [ -z "$prefix" ]; then
	if [ "$(id -u)" = 0 ]; then
		prefix=/usr/local
	else
		prefix=${HOME:?Cannot choose a prefix: HOME is not set}/.local
	fi
fi
case "$prefix" in /*) ;; *) prefix=$PWD/$prefix ;; esac
if [ "$mode" = uninstall ]; then
	uninstall
	exit
fi

here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$from" ] && [ -f "$here/SHA256SUMS" ]; then from=$here; fi
[ -n "$from" ] || fail "Cannot install from nowhere: say --from ADDRESS, FOLDER or limanet-VERSION-airgap.tar"
work=$(mktemp -d)
: >"$work/installed"
case "$from" in
http://* | https://*) ;;
*.tar)
	mkdir "$work/bundle"
	tar -xf "$from" -C "$work/bundle" --strip-components 1 || fail "Cannot unpack $from"
	from=$work/bundle
	;;
*) [ -d "$from" ] || fail "Cannot install from $from: it is no folder, no .tar and no http address" ;;
esac

platform=$(platform)
executable=limanet-$platform
fetch SHA256SUMS || fail "Cannot install from $from: SHA256SUMS is not there$(if [ -s "$work/problem" ]; then printf ' (%s)' "$(cat "$work/problem")"; fi)"
check_signature
take "$executable" || fail "Cannot install from $from: $executable is not there, or not in SHA256SUMS"
chmod 755 "$work/$executable"
version=$("$work/$executable" --version 2>"$work/problem") ||
	fail "Cannot run $executable on this machine: $(head -n 1 "$work/problem")$(if [ "${platform%-musl}" != "$platform" ]; then printf ' (apk add libstdc++ libgcc)'; fi)"

# all is checked before anything is changed
mkdir "$work/share"
if take limanet-share.tar; then tar -xf "$work/limanet-share.tar" -C "$work/share"; fi
# of template:demo
if [ "${platform#*-x64}" != "$platform" ] && take limanet-guest.tar; then
	mkdir -p "$work/share/limanet"
	tar -xf "$work/limanet-guest.tar" -C "$work/share/limanet"
fi
put "$work/$executable" 755 "$prefix/bin/limanet"
(cd "$work/share" && find . -type f) | while read -r file; do
	put "$work/share/$file" 644 "$prefix/share/${file#./}"
done
echo "$prefix/share/limanet/installed" >>"$work/installed"
mkdir -p "$prefix/share/limanet"
cp "$work/installed" "$prefix/share/limanet/installed"
say "limanet $version is $prefix/bin/limanet"
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*) say "$prefix/bin is not in your PATH: add it there" ;;
esac
if [ "$vmnet" = yes ]; then install_for_root; fi
say "\`limanet doctor\` says what this machine still needs; \`limanet start --help\` how to begin"
