
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: */

/*
 * The harness checks itself: what the macros answer is what a test relies
 * on.  Failures that are provoked here are taken back from the count.
 */

#include "unit.h"


static void
checks_answer_true(void)
{
    UNIT_OK(1 + 1 == 2);
    UNIT_EQ(-1, -1);
    UNIT_STR("a", "a");
    UNIT_STR(NULL, NULL);
    UNIT_STRN("abc", 2, "ab");
    UNIT_STRN(NULL, 0, "");
    UNIT_HAS("line 3: expected \";\"", "line 3");
}


static void
checks_count_failures(void)
{
    printf("# seven failures follow, provoked\n");

    UNIT_OK(0);
    UNIT_EQ(1, 2);
    UNIT_STR("a", "b");
    UNIT_STR(NULL, "b");
    UNIT_STRN("abc", 2, "abc");
    UNIT_HAS("abc", "x");
    UNIT_HAS(NULL, "x");

    if (unit_failures == 7) {
        unit_failures = 0;
    }
}


UNIT_TESTS = {
    UNIT(checks_answer_true),
    UNIT(checks_count_failures),
    UNIT_END
};
