# The steps of auto/build, which sources this file.  In: root, build,
# sanitize.  Each build_TARGET makes one kind of result below $build.

nginx_src=/usr/share/nginx/src
warnings="-W -Wall -Wextra -Wpointer-arith -Wmissing-prototypes -Wvla
          -Wno-unused-parameter -Werror"


die() {
    echo "auto/build: $*" >&2
    exit 1
}


# what makes the configured directory stale, as one line of text

nginx_signature() {
    {
        /usr/sbin/nginx -v 2>&1
        cat "$nginx_src/conf_flags" config
        ls ngx_mesh_module/*/*.[ch]
        sed -n 's/^ngx_module_t  *\(ngx_[a-z_]*\) = {.*/\1/p' \
            ngx_mesh_module/*/*.c
        echo "$sanitize"
    } 2>/dev/null | cksum
}


# nginx-dev's configure writes into its current directory, so it runs in a
# directory of links; conf_flags is an array of bash

nginx_configure() {
    [ -x "$nginx_src/configure" ] || die "nginx-dev is missing: auto/setup"

    signature=$(nginx_signature)

    if [ "$signature" = "$(cat "$build/nginx/signature" 2>/dev/null)" ]; then
        return
    fi

    echo "configuring for $(/usr/sbin/nginx -v 2>&1)"

    rm -rf "$build/nginx"
    mkdir -p "$build/nginx"
    ln -s "$nginx_src/auto" "$nginx_src/src" "$nginx_src/configure" \
        "$build/nginx"

    (
        cd "$build/nginx"

        ASAN_OPTIONS=detect_leaks=0 MESH_SANITIZE=$sanitize bash -c '
            . "$1/conf_flags"
            ./configure \
                --with-cc-opt="$(dpkg-buildflags --get CFLAGS) -fPIC \
                    $(dpkg-buildflags --get CPPFLAGS) \
                    -Wpointer-arith -Wmissing-prototypes -Wvla -Werror \
                    $MESH_SANITIZE" \
                --with-ld-opt="$(dpkg-buildflags --get LDFLAGS) -fPIC \
                    $MESH_SANITIZE" \
                "${NGX_CONF_FLAGS[@]}" \
                --add-dynamic-module="$2" --builddir=objs' \
            sh "$nginx_src" "$root" > configure.log 2>&1
    ) || {
        tail -20 "$build/nginx/configure.log" >&2
        die "nginx's configure failed, see $build/nginx/configure.log"
    }

    echo "$signature" > "$build/nginx/signature"
}


build_module() {
    if ! ls ngx_mesh_module/core/ngx_mesh_module.c > /dev/null 2>&1; then
        echo "no module yet: ngx_mesh_module/core/ngx_mesh_module.c is missing"
        return
    fi

    nginx_configure

    make -s -C "$build/nginx" -f objs/Makefile modules -j2
    install_changed "$build/nginx/objs/ngx_mesh_module.so" \
        "$build/ngx_mesh_module.so"
}


# a new file under a running nginx, never new bytes in the old one

install_changed() {
    cmp -s "$1" "$2" && return

    cp "$1" "$2.new"
    mv "$2.new" "$2"
    echo "built $2"
}


build_controller() {
    if [ ! -f controller/Makefile ]; then
        echo "no controller yet: controller/Makefile is missing"
        return
    fi

    if [ -n "$sanitize" ]; then
        make -s -j2 -C controller BUILD="$build" LDFLAGS="$sanitize" \
            CFLAGS="-O1 -g -fno-omit-frame-pointer $sanitize"
    else
        make -s -j2 -C controller BUILD="$build"
    fi
}


# unit and fuzz programs: each is linked with what its comment "unit:" names

build_unit() {
    build_tests unit u "gcc" "-fsanitize=address,undefined \
        -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
}


build_fuzz() {
    build_tests fuzz f "clang" "-fsanitize=fuzzer,address,undefined \
        -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
}


# what measures: t/bench

build_bench() {
    mkdir -p "$build/bench"
    make -s -C t/bench BUILD="$build" WARNINGS="$(echo $warnings)"
}


build_tests() {
    kind=$1 prefix=$2 cc=$3 flags=$4
    dir=$build/$kind

    mkdir -p "$dir"

    if grep -lq 'ngx_core\.h\|core/ngx_\|unit_ngx' "t/$kind/$prefix"-*.c; then
        nginx_configure
    fi

    rc=0
    auto/lib/tests-mk "t/$kind/$prefix"-*.c > "$dir/Makefile.new" || rc=1
    mv "$dir/Makefile.new" "$dir/Makefile"

    make -s -k -j2 -f "$dir/Makefile" DIR="$dir" NGINX="$build/nginx" \
        CC="$cc" FLAGS="-std=gnu11 -D_GNU_SOURCE -g -O1 $flags" \
        WARNINGS="$(echo $warnings)" || rc=1

    return $rc
}
