
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _UNIT_H_INCLUDED_
#define _UNIT_H_INCLUDED_

/*
 * The harness of unit tests: one program per source file, one TAP line per
 * test function.  A failed check prints where and what, and the test goes on;
 * UNIT_NEED() leaves the test function.  This header defines main(), so it
 * is included by exactly one file of a program, after its other headers.
 * A test file ends with its table:
 *
 *     UNIT_TESTS = {
 *         UNIT(parse_takes_our_path),
 *         UNIT(parse_refuses_empty_segments),
 *         UNIT_END
 *     };
 *
 * What a program is linked with stands in the comment "unit:" in its first
 * lines, see t/README.md.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


typedef struct {
    const char  *name;
    void       (*run)(void);
} unit_test_t;


extern const unit_test_t  unit_tests[];    /* UNIT_TESTS of the test file */


#define UNIT_TESTS        const unit_test_t  unit_tests[]
#define UNIT(f)           { #f, f }
#define UNIT_END          { NULL, NULL }


/* expr is true */

#define UNIT_OK(expr)                                                         \
    unit_ok(__FILE__, __LINE__, #expr, (expr) ? 1 : 0)

/* the same; the rest of the test makes no sense without it */

#define UNIT_NEED(expr)                                                       \
    do {                                                                      \
        if (!UNIT_OK(expr)) {                                                 \
            return;                                                           \
        }                                                                     \
    } while (0)

/* integers of any type that fit into a signed 64 bit number */

#define UNIT_EQ(got, want)                                                    \
    unit_eq(__FILE__, __LINE__, #got, (long long) (got), (long long) (want))

/* NUL terminated strings; either may be NULL, two NULLs are equal */

#define UNIT_STR(got, want)                                                   \
    unit_str(__FILE__, __LINE__, #got, (const char *) (got),                  \
             (const char *) (want))

/* len bytes at got against a NUL terminated string */

#define UNIT_STRN(got, len, want)                                             \
    unit_strn(__FILE__, __LINE__, #got, (const char *) (got), (size_t) (len), \
              (const char *) (want))

/* text contains word: for sentences that say what is wrong */

#define UNIT_HAS(text, word)                                                  \
    unit_has(__FILE__, __LINE__, #text, (const char *) (text),                \
             (const char *) (word))

/* the test cannot run here; the reason must be listed in t/SKIPS */

#define UNIT_SKIP(why)                                                        \
    do {                                                                      \
        unit_skipped = (why);                                                 \
        return;                                                               \
    } while (0)


static int          unit_failures;         /* of the test that is running */
static const char  *unit_skipped;


static inline int
unit_fail(const char *file, int line, const char *fmt, ...)
{
    va_list  args;

    unit_failures++;

    printf("# %s:%d: ", file, line);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    return 0;
}


static inline int
unit_ok(const char *file, int line, const char *expr, int ok)
{
    return ok ? 1 : unit_fail(file, line, "%s", expr);
}


static inline int
unit_eq(const char *file, int line, const char *expr, long long got,
    long long want)
{
    if (got == want) {
        return 1;
    }

    return unit_fail(file, line, "%s is %lld, not %lld", expr, got, want);
}


static inline int
unit_str(const char *file, int line, const char *expr, const char *got,
    const char *want)
{
    if (got == want || (got && want && strcmp(got, want) == 0)) {
        return 1;
    }

    return unit_fail(file, line, "%s is \"%s\", not \"%s\"", expr,
                     got ? got : "(null)", want ? want : "(null)");
}


static inline int
unit_strn(const char *file, int line, const char *expr, const char *got,
    size_t len, const char *want)
{
    if (len == strlen(want) && (len == 0 || memcmp(got, want, len) == 0)) {
        return 1;
    }

    return unit_fail(file, line, "%s is \"%.*s\", not \"%s\"", expr,
                     (int) len, got ? got : "", want);
}


static inline int
unit_has(const char *file, int line, const char *expr, const char *text,
    const char *word)
{
    if (text && strstr(text, word)) {
        return 1;
    }

    return unit_fail(file, line, "%s is \"%s\", which lacks \"%s\"", expr,
                     text ? text : "(null)", word);
}


static inline int
unit_main(const unit_test_t *tests)
{
    int                 n, failed;
    const unit_test_t  *test;

    for (n = 0; tests[n].name; n++) { /* void */ }

    printf("1..%d\n", n);

    failed = 0;

    for (test = tests, n = 1; test->name; test++, n++) {
        unit_failures = 0;
        unit_skipped = NULL;

        test->run();

        if (unit_failures) {
            failed++;
        }

        printf("%sok %d - %s%s%s\n", unit_failures ? "not " : "", n,
               test->name, unit_skipped ? " # SKIP " : "",
               unit_skipped ? unit_skipped : "");
        fflush(stdout);
    }

    return failed != 0;
}


int
main(void)
{
    return unit_main(unit_tests);
}


#endif /* _UNIT_H_INCLUDED_ */
