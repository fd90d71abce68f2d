# How auto/test runs one family.  In: root, build, results, families().


# field NAME N: column N of the table; 5: all from there on

field() {
    families | awk -v name="$1" -v n="$2" '
        $1 == name && n < 5 { print $n }
        $1 == name && n == 5 { for (i = 5; i <= NF; i++) print $i }'
}


# prepare_NAME makes what a family needs beyond auto/build, and may change
# what run_files finds in its environment

prepare_unit() {
    auto/build unit
}


prepare_fuzz() {
    auto/build fuzz
}


prepare_versions() {
    auto/setup versions
    auto/versions --make
}


prepare_gates() {
    auto/setup gates
    auto/build bench
}


prepare_asan() {
    MESH_BUILD=$root/build-asan auto/build --asan
}


# files_NAME prints what is run, one command a line

files_unit() {
    for file in t/unit/u-*.c; do
        file=${file##*/}
        echo "$build/unit/${file%.c}"
    done
}


files_fuzz() {
    for file in t/fuzz/f-*.c; do
        [ ! -f "$file" ] || echo "auto/lib/fuzz $file"
    done
}


files_versions() {
    for suite in trixie sid; do
        echo "auto/versions $suite"
    done
}


files_local() {
    named=$(families | awk '$1 != "local"')

    for file in t/local/*.t; do
        case $named in
        *" $file"*)  ;;
        *)           echo "$file" ;;
        esac
    done
}


files_default() {
    for file in $(field "$1" 5); do
        [ ! -f "$file" ] || echo "$file"
    done
}


# what cannot be prepared is one failure; what is there is run all the same

run_family() {
    family=$1
    rm -rf "$build/test/$family"
    mkdir -p "$build/test/$family"

    if ! prepare "$family" > "$build/test/$family/prepare.log" 2>&1; then
        cat "$build/test/$family/prepare.log"
        echo "FAILED $family cannot be prepared"
        echo "$family 0 1 0 0" >> "$results"
    fi

    if command -v "files_$family" > /dev/null; then
        "files_$family"
    else
        files_default "$family"
    fi > "$build/test/$family/files"

    asan=
    [ "$family" != asan ] || asan=$root/build-asan

    reports=$(mktemp -d /tmp/mesh-asan.XXXXXX)
    chmod 1777 "$reports"

    MESH_ASAN=$asan MESH_ASAN_REPORTS=$reports/report \
        MESH_BUILD=${asan:-$build} \
        auto/lib/tap --family "$family" --jobs "$(field "$family" 2)" \
            --limit "$(field "$family" 3)" --net "$(field "$family" 4)" \
            --logs "$build/test/$family" \
            --results "$results" < "$build/test/$family/files" || true

    if [ -n "$asan" ]; then
        judge_reports "$reports" || echo "$family 0 1 0 0" >> "$results"
    fi

    rm -rf "$reports"
}


# an error of any kind, or a leak with our module in its stack

judge_reports() {
    found=$(find "$1" -type f -exec awk '
        BEGIN { RS = "" }
        /ERROR: AddressSanitizer|runtime error:/ { error = 1 }
        error || /leak of .*ngx_mesh_module\.so/ { print; print "" }
    ' {} +)

    [ -z "$found" ] || {
        echo "FAILED the sanitizers reported"
        echo "$found"
        return 1
    }
}


prepare() {
    if command -v "prepare_$1" > /dev/null; then
        "prepare_$1"
    fi
}


# results: one line a family, name passed failed skipped seconds

sum_results() {
    awk '
        { passed += $2; failed += $3; skipped += $4
          printf "%-10s %5d passed %3d failed %3d skipped %7.1f s\n",
                 $1, $2, $3, $4, $5 }
        END {
            printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
            exit failed > 0 || passed == 0
        }' "$results"
}
