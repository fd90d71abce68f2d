# What auto/setup and auto/versions know of apt.  No host is named anywhere:
# the mirror is the one that this machine's own apt uses.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg


# the URI of the archive that this Debian itself comes from

apt_mirror() {
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")

    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' \
        | awk -v name="$codename" '
            $3 == "Debian" && $2 == name { print $1; found = 1; exit }
            $3 == "Debian" && $1 !~ /security/ && !any { any = $1 }
            END { if (!found) print any }' \
        | sed 's,/*$,,'
}


# apt_download SUITE PACKAGE DIR: the signed .deb of another suite, by a
# private state of apt that leaves no source and no pin behind

apt_download() {
    (
        suite=$1 package=$2 dir=$3

        mirror=$(apt_mirror)
        [ -n "$mirror" ] || { echo "apt knows no Debian archive" >&2; exit 1; }

        private=$(mktemp -d)
        trap 'rm -rf "$private"' EXIT
        mkdir -p "$private/lists/partial" "$private/cache/archives/partial"
        chmod 755 "$private"

        echo "deb [signed-by=$keyring] $mirror $suite main" \
            > "$private/sources.list"

        set -- -qq -o Dir::Etc::sourcelist="$private/sources.list" \
            -o Dir::Etc::sourceparts=- -o Dir::State::lists="$private/lists" \
            -o Dir::Cache="$private/cache" -o APT::Sandbox::User=root \
            -o Acquire::Languages=none

        apt-get "$@" update
        cd "$dir"
        apt-get "$@" download "$package"
    )
}
