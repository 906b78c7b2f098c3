#!/bin/sh
# deb.sh BUILD: a Debian package of the program as it is built: BUILD/jetcl_VERSION_ARCH.deb. Depends come from
# dpkg-shlibdeps. Needs dpkg-dev.
set -eu
build=$1
root=$build/deb/root
version=$(sed -n 's/^#define JETCL_VERSION "\(.*\)"/\1/p' core/base/base.h)
arch=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-jetcl} <${DEBEMAIL:-jetcl@example.org}>"
date=$(LC_ALL=C date -u -R -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")
command -v dpkg-shlibdeps >/dev/null ||
    { echo "deb: dpkg-shlibdeps is missing: apt-get install dpkg-dev" >&2; exit 1; }

rm -rf "$build/deb"
mkdir -p "$root/DEBIAN" "$build/deb/debian" "$root/usr/share/doc/jetcl"
umask 022
${MAKE:-make} -s B="$build" DESTDIR="$root" prefix=/usr zshdir="$root/usr/share/zsh/vendor-completions" \
    install >/dev/null
strip --strip-unneeded --remove-section=.comment "$root/usr/bin/jetcl"
gzip -9n "$root/usr/share/man/man1/jetcl.1"

{
    echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
    echo 'Upstream-Name: jetcl'
    echo
    echo 'Files: *'
    echo 'Copyright: 2026 the authors of jetcl'
    echo 'License: Apache-2.0'
    echo ' On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.'
} >"$root/usr/share/doc/jetcl/copyright"
{
    echo "jetcl ($version) unstable; urgency=medium"
    echo
    echo '  * See CHANGELOG.md in the sources.'
    echo
    echo " -- $maintainer  $date"
} | gzip -9n >"$root/usr/share/doc/jetcl/changelog.gz"

echo 'Source: jetcl' >"$build/deb/debian/control"
depends=$(cd "$build/deb" && dpkg-shlibdeps -O root/usr/bin/jetcl | sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<END
Package: jetcl
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Depends: $depends, pocl-opencl-icd | opencl-icd
Suggests: openmpi-bin
Section: science
Priority: optional
Description: recycle dense vision models into mixtures of experts
 jetcl is MoE Jetpack (NeurIPS 2024) in C on OpenCL: it cuts a pre-trained
 ViT or ConvNeXt into the experts of a mixture-of-experts model, fine-tunes
 and evaluates it, on GPUs or, through PoCL, on the CPU.
END
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod -R go=rX "$root"
dpkg-deb --root-owner-group -Zxz --build "$root" "$build/jetcl_${version}_$arch.deb"
