
/*
 * Copyright (C) ngx-mesh authors
 */

/* unit: controller/kube/mesh_lease.c controller/base/;
 *       -ljansson -levent -lssl -lcrypto */

/*
 * One rule after the other, with what the recordings say; then five
 * candidates and a server of this file in virtual time, which lose requests,
 * are killed and stopped: one leader at a time, and soon another one.
 */

#include <mesh_core.h>
#include <mesh_lease.h>

#include "unit.h"


#define WALL  UINT64_C(1767225600000000)       /* 2026-01-01 */


static mesh_lease_record_t
record(const char *holder, const char *version, const char *renewed,
    unsigned duration_s, int transitions)
{
    mesh_lease_record_t  r;

    memset(&r, 0, sizeof(r));
    snprintf(r.holder, sizeof(r.holder), "%s", holder);
    snprintf(r.version, sizeof(r.version), "%s", version);
    snprintf(r.renewed, sizeof(r.renewed), "%s", renewed);
    r.duration_s = duration_s;
    r.transitions = transitions;

    return r;
}


static mesh_lease_do_e
next(mesh_lease_t *lease, uint64_t now)
{
    return mesh_lease_next(lease, now, WALL + now * 1000, 0);
}


/* what the server answers to what was sent */

static void
accept(mesh_lease_t *lease, int status, const char *version, uint64_t now)
{
    mesh_lease_record_t  r;

    r = lease->sent;
    snprintf(r.version, sizeof(r.version), "%s", version);

    mesh_lease_answer(lease, status, &r, now, 0);
}


static void
times_have_six_digits(void)
{
    char  buf[MESH_LEASE_TIME_BYTES];

    mesh_lease_time(WALL, buf);
    UNIT_STR(buf, "2026-01-01T00:00:00.000000Z");
    mesh_lease_time(WALL + 20 * 1000000 + 42, buf);
    UNIT_STR(buf, "2026-01-01T00:00:20.000042Z");
    mesh_lease_time(UINT64_C(1709251199999999), buf);
    UNIT_STR(buf, "2024-02-29T23:59:59.999999Z");
}


static void
the_first_one_creates_it_and_renews(void)
{
    int           i;
    char          version[16];
    mesh_lease_t  a;

    mesh_lease_init(&a, "a");

    UNIT_EQ(next(&a, 1000), MESH_LEASE_GET);
    UNIT_EQ(next(&a, 1000), MESH_LEASE_WAIT);
    mesh_lease_answer(&a, 404, NULL, 1000, 0);
    UNIT_EQ(next(&a, 1000), MESH_LEASE_CREATE);
    UNIT_STR(a.sent.holder, "a");
    UNIT_STR(a.sent.version, "");
    UNIT_STR(a.sent.renewed, a.sent.acquired);
    UNIT_STR(a.sent.renewed, "2026-01-01T00:00:01.000000Z");
    UNIT_EQ(a.sent.duration_s, MESH_LEASE_DURATION_S);
    UNIT_EQ(a.sent.transitions, 0);
    UNIT_OK(!a.leader);
    accept(&a, 201, "5", 1010);
    UNIT_OK(a.leader);

    for (i = 0; i < 20; i++) {
        UNIT_EQ(next(&a, 1000 + 2000u * (unsigned) i + 1999),
                MESH_LEASE_WAIT);
        UNIT_EQ(next(&a, 3000 + 2000u * (unsigned) i), MESH_LEASE_UPDATE);
        UNIT_STR(a.sent.acquired, "2026-01-01T00:00:01.000000Z");
        UNIT_EQ(a.sent.transitions, 0);
        snprintf(version, sizeof(version), "%d", 10 + i);
        accept(&a, 200, version, 3010 + 2000u * (unsigned) i);
        UNIT_NEED(a.leader);
    }
}


static void
a_follower_waits_and_takes_over(void)
{
    uint64_t             now, since;
    mesh_lease_t         b;
    mesh_lease_record_t  r;

    mesh_lease_init(&b, "b");

    /* it sees renewals until 20 s; then no more */

    since = 0;

    for (now = 1000; !b.leader && now < 60000; now += 10) {
        r = record("a", now < 20000 ? "9" : "10", "t1", 10, 3);

        if (now < 20000) {
            snprintf(r.version, sizeof(r.version), "%u",
                     (unsigned) now / 2000);

        } else if (since == 0) {
            since = now;
        }

        switch (next(&b, now)) {

        case MESH_LEASE_GET:
            mesh_lease_answer(&b, 200, &r, now, 1u << 31);
            break;

        case MESH_LEASE_UPDATE:
            UNIT_STR(b.sent.version, "10");
            UNIT_EQ(b.sent.transitions, 4);
            UNIT_STR(b.sent.holder, "b");
            accept(&b, 200, "11", now);
            break;

        case MESH_LEASE_CREATE:
            UNIT_OK(0);
            break;

        default:
            break;
        }
    }

    UNIT_OK(b.leader);
    UNIT_OK(now - since >= 10000);            /* the other one's duration */
    UNIT_OK(now - since <= 12100);

    /* nobody's: at once */

    mesh_lease_init(&b, "b");
    UNIT_EQ(next(&b, 1), MESH_LEASE_GET);
    r = record("", "7", "t", 1, 5);
    mesh_lease_answer(&b, 200, &r, 1, 0);
    UNIT_EQ(next(&b, 1), MESH_LEASE_UPDATE);
    UNIT_EQ(b.sent.transitions, 6);
}


/* the recordings: lease-update-noop-same-content, -conflict, -create-exists */

static void
only_a_change_proves_anything(void)
{
    mesh_lease_t         a;
    mesh_lease_record_t  r;

    mesh_lease_init(&a, "a");
    UNIT_EQ(next(&a, 1000), MESH_LEASE_GET);
    r = record("", "337", "t", 1, 1);
    mesh_lease_answer(&a, 200, &r, 1000, 0);
    UNIT_EQ(next(&a, 1000), MESH_LEASE_UPDATE);

    /* 200, and the version that we had */

    accept(&a, 200, "337", 1000);
    UNIT_OK(!a.leader);
    UNIT_EQ(next(&a, 1000), MESH_LEASE_WAIT);
    UNIT_EQ(next(&a, 1500), MESH_LEASE_GET);
    r = record("y", "338", "t", 10, 1);
    mesh_lease_answer(&a, 200, &r, 1500, 0);
    UNIT_EQ(next(&a, 1500), MESH_LEASE_WAIT);
    mesh_lease_init(&a, "a");
    UNIT_EQ(next(&a, 1500), MESH_LEASE_GET);
    r = record("", "339", "t", 1, 1);

    /* 200, and somebody else in it */

    mesh_lease_answer(&a, 200, &r, 1500, 0);
    UNIT_EQ(next(&a, 1500), MESH_LEASE_UPDATE);
    r = record("z", "340", "t", 10, 2);
    mesh_lease_answer(&a, 200, &r, 1500, 0);
    UNIT_OK(!a.leader);

    /* 409 */

    UNIT_EQ(next(&a, 2500), MESH_LEASE_GET);
    r = record("", "341", "t", 1, 2);
    mesh_lease_answer(&a, 200, &r, 2500, 0);
    UNIT_EQ(next(&a, 2500), MESH_LEASE_UPDATE);
    mesh_lease_answer(&a, 409, NULL, 2500, 0);
    UNIT_EQ(next(&a, 2500), MESH_LEASE_WAIT);
    UNIT_EQ(next(&a, 3000), MESH_LEASE_GET);
    r = record("z", "342", "t", 10, 3);
    mesh_lease_answer(&a, 200, &r, 3000, 0);
    UNIT_EQ(next(&a, 3001), MESH_LEASE_WAIT);
    UNIT_OK(!a.leader);

    /* the clock stands still: what is written differs nevertheless */

    mesh_lease_init(&a, "a");
    UNIT_EQ(mesh_lease_next(&a, 1, WALL, 0), MESH_LEASE_GET);
    mesh_lease_answer(&a, 404, NULL, 1, 0);
    UNIT_EQ(mesh_lease_next(&a, 1, WALL, 0), MESH_LEASE_CREATE);
    accept(&a, 201, "1", 1);
    UNIT_EQ(mesh_lease_next(&a, 2001, WALL, 0), MESH_LEASE_UPDATE);
    UNIT_STR(a.sent.renewed, "2026-01-01T00:00:00.000001Z");
}


/* no namespace: 404 to GET and POST; or 409 whatever is tried */

static void
refusals_make_no_busy_loop(void)
{
    int                  status, requests;
    uint64_t             now;
    mesh_lease_t         a;
    mesh_lease_do_e      what;
    mesh_lease_record_t  r;

    for (status = 404; status <= 409; status += 5) {
        mesh_lease_init(&a, "a");
        requests = 0;
        r = record("", "1", "t", 1, 0);

        for (now = 1; now < 60000; now++) {
            what = next(&a, now);

            if (what == MESH_LEASE_WAIT) {
                continue;
            }

            requests++;

            if (what == MESH_LEASE_GET && status == 409) {
                mesh_lease_answer(&a, 200, &r, now, 0);

            } else {
                mesh_lease_answer(&a, status, NULL, now, 0);
            }
        }

        UNIT_OK(requests > 60 && requests < 400);
        UNIT_OK(!a.leader);
    }
}


static void
a_leader_stops_in_time(void)
{
    uint64_t             now;
    mesh_lease_t         a;
    mesh_lease_record_t  r;

    /* failures: it asks on, and is no leader any more after the deadline */

    mesh_lease_init(&a, "a");
    UNIT_EQ(next(&a, 1000), MESH_LEASE_GET);
    mesh_lease_answer(&a, 404, NULL, 1000, 0);
    UNIT_EQ(next(&a, 1000), MESH_LEASE_CREATE);
    accept(&a, 201, "5", 1900);

    for (now = 1900; a.leader && now < 20000; now += 10) {
        UNIT_OK(mesh_lease_wait(&a, now) <= MESH_LEASE_DEADLINE_MS);

        if (next(&a, now) == MESH_LEASE_UPDATE) {
            UNIT_STR(a.sent.holder, "a");
            mesh_lease_answer(&a, (now / 500) % 2 ? 503 : 0, NULL, now, 0);
        }
    }

    UNIT_EQ(now, 1000 + MESH_LEASE_DEADLINE_MS + 10);

    /* it is back: another term, if nobody else had one */

    now += 1000;
    UNIT_EQ(next(&a, now), MESH_LEASE_UPDATE);
    UNIT_EQ(a.sent.transitions, 1);
    accept(&a, 200, "6", now);
    UNIT_OK(a.leader);

    /* an answer that was under way for too long proves nothing */

    UNIT_EQ(next(&a, now + 2000), MESH_LEASE_UPDATE);
    UNIT_EQ(next(&a, now + 8000), MESH_LEASE_WAIT);
    UNIT_OK(!a.leader);
    accept(&a, 200, "7", now + 9500);
    UNIT_OK(!a.leader);

    /* somebody else has it */

    now += 20000;
    UNIT_EQ(next(&a, now), MESH_LEASE_UPDATE);
    accept(&a, 200, "8", now);
    UNIT_OK(a.leader);
    UNIT_EQ(next(&a, now + 2000), MESH_LEASE_UPDATE);
    mesh_lease_answer(&a, 409, NULL, now + 2000, 0);
    UNIT_OK(a.leader);
    UNIT_EQ(next(&a, now + 2000), MESH_LEASE_GET);
    r = record("b", "10", "t", 10, 4);
    mesh_lease_answer(&a, 200, &r, now + 2001, 0);
    UNIT_OK(!a.leader);
    UNIT_EQ(next(&a, now + 2001), MESH_LEASE_WAIT);

    /* or touched it only */

    mesh_lease_init(&a, "a");
    UNIT_EQ(next(&a, 1), MESH_LEASE_GET);
    mesh_lease_answer(&a, 404, NULL, 1, 0);
    UNIT_EQ(next(&a, 1), MESH_LEASE_CREATE);
    accept(&a, 201, "5", 1);
    UNIT_EQ(next(&a, 2001), MESH_LEASE_UPDATE);
    mesh_lease_answer(&a, 409, NULL, 2001, 0);
    UNIT_EQ(next(&a, 2001), MESH_LEASE_GET);
    r = a.seen;
    snprintf(r.version, sizeof(r.version), "6");
    mesh_lease_answer(&a, 200, &r, 2001, 0);
    UNIT_OK(a.leader);
    UNIT_EQ(next(&a, 2001), MESH_LEASE_UPDATE);
    UNIT_STR(a.sent.version, "6");
    UNIT_EQ(a.sent.transitions, 0);
}


static void
it_is_given_up_at_the_end(void)
{
    mesh_lease_t  a;

    mesh_lease_init(&a, "a");
    UNIT_EQ(next(&a, 1), MESH_LEASE_GET);
    mesh_lease_answer(&a, 404, NULL, 1, 0);
    UNIT_EQ(next(&a, 1), MESH_LEASE_CREATE);
    accept(&a, 201, "5", 1);

    /* a renewal is under way */

    UNIT_EQ(next(&a, 2001), MESH_LEASE_UPDATE);
    mesh_lease_release(&a);
    UNIT_EQ(next(&a, 2001), MESH_LEASE_WAIT);
    UNIT_OK(!a.released);
    accept(&a, 200, "6", 2002);
    UNIT_OK(a.leader);
    UNIT_EQ(next(&a, 2002), MESH_LEASE_UPDATE);
    UNIT_STR(a.sent.holder, "");
    UNIT_STR(a.sent.version, "6");
    UNIT_EQ(a.sent.duration_s, 1);
    accept(&a, 200, "7", 2003);
    UNIT_OK(a.released);
    UNIT_OK(!a.leader);
    UNIT_EQ(next(&a, 90000), MESH_LEASE_WAIT);

    /* not ours: nothing to give */

    mesh_lease_init(&a, "a");
    mesh_lease_release(&a);
    UNIT_EQ(next(&a, 1), MESH_LEASE_WAIT);
    UNIT_OK(a.released);
}


/* five of them, in virtual time */

#define CANDIDATES  5

typedef struct {
    mesh_lease_t         lease;
    int                  alive;
    uint64_t             stopped;          /* until then: SIGSTOP */
    uint64_t             answer_ms;        /* of the request under way */
    int                  status;
    int                  with;             /* a record comes with it */
    mesh_lease_record_t  answer;
    int64_t              skew_ms;          /* of its wall clock */
} candidate_t;


static candidate_t          them[CANDIDATES];
static mesh_lease_record_t  server;
static int                  exists, version, born, lossy;
static uint32_t             rnd_state;


static uint32_t
rnd(uint32_t n)
{
    rnd_state = rnd_state * 1664525 + 1013904223;

    return (rnd_state >> 8) % n;
}


static void
start(candidate_t *c)
{
    char  name[16];

    memset(c, 0, sizeof(candidate_t));
    snprintf(name, sizeof(name), "c%d", born++);
    mesh_lease_init(&c->lease, name);
    c->alive = 1;
    c->skew_ms = (int64_t) rnd(86400000) - 43200000;
}


static void
request(candidate_t *c, mesh_lease_do_e what, uint64_t now)
{
    int  lost;

    c->answer_ms = now + 1 + rnd(40);
    lost = lossy ? (int) rnd(20) : 20;
    c->with = 0;

    if (lost == 0 || lost == 1) {              /* on the way there */
        c->status = lost ? 503 : 0;
        c->answer_ms = now + rnd(3000);
        return;
    }

    if (what == MESH_LEASE_GET) {
        c->status = exists ? 200 : 404;
        c->answer = server;
        c->with = exists;

    } else if (what == MESH_LEASE_CREATE) {
        c->status = exists ? 409 : 201;

    } else {
        c->status = !exists ? 404
                    : strcmp(c->lease.sent.version, server.version) ? 409
                    : 200;
    }

    if ((what == MESH_LEASE_CREATE && c->status == 201)
        || (what == MESH_LEASE_UPDATE && c->status == 200))
    {
        UNIT_OK(!exists || c->lease.sent.transitions >= server.transitions);
        exists = 1;
        server = c->lease.sent;
        snprintf(server.version, sizeof(server.version), "%d", ++version);
        c->answer = server;
        c->with = 1;
    }

    if (lost == 2) {                           /* on the way back */
        c->status = 0;
        c->with = 0;
        c->answer_ms = now + rnd(3000);
    }
}


static void
turn(candidate_t *c, uint64_t now)
{
    mesh_lease_do_e  what;

    if (!c->alive || now < c->stopped) {
        return;
    }

    if (c->answer_ms && now >= c->answer_ms) {
        c->answer_ms = 0;
        mesh_lease_answer(&c->lease, c->status,
                          c->with ? &c->answer : NULL, now, rnd(1u << 24)
                          << 8);
    }

    what = mesh_lease_next(&c->lease, now, WALL + (now + 86400000
                           + (uint64_t) c->skew_ms) * 1000, 0);

    if (what != MESH_LEASE_WAIT) {
        request(c, what, now);
    }
}


static uint64_t
longest_without_a_leader(int *terms)
{
    int       i, leaders, round;
    uint64_t  now, without, longest;

    longest = 0;
    *terms = 0;

    for (round = 0; round < 20; round++) {
        rnd_state = 99u + (uint32_t) round;
        memset(&server, 0, sizeof(server));
        exists = 0;
        version = 0;
        without = 1000;

        for (i = 0; i < CANDIDATES; i++) {
            start(&them[i]);
        }

        for (now = 1000; now < 600000; now += 10) {

            for (i = 0; i < CANDIDATES; i++) {
                turn(&them[i], now);
            }

            for (i = 0, leaders = 0; i < CANDIDATES; i++) {

                /* one that is stopped cannot know: the epoch fences it */

                leaders += them[i].alive && now >= them[i].stopped
                           && them[i].lease.leader;
            }

            if (!UNIT_OK(leaders <= 1)) {
                return UINT64_MAX;
            }

            if (leaders) {
                without = now;
            }

            longest = mesh_max(longest, now - without);

            /* every 30 s the leader dies or is stopped for long */

            if (now % 30000 != 0) {
                continue;
            }

            for (i = 0; i < CANDIDATES; i++) {

                if (!them[i].lease.leader || !them[i].alive) {
                    continue;
                }

                (*terms)++;

                if (rnd(2)) {
                    start(&them[i]);

                } else {
                    them[i].stopped = now + 5000 + rnd(20000);
                }
            }
        }
    }

    return longest;
}


static void
one_leader_at_a_time_and_soon_another(void)
{
    int       terms;
    uint64_t  longest;

    for (lossy = 0; lossy < 2; lossy++) {
        longest = longest_without_a_leader(&terms);

        UNIT_OK(terms > 300);
        printf("# %d terms, longest without a leader %u ms%s\n", terms,
               (unsigned) longest, lossy ? ", 15 % of requests lost" : "");

        /* with several lost in a row, each for up to 3 s */

        UNIT_OK(longest <= (lossy ? 18000 : 11500));
    }
}


UNIT_TESTS = {
    UNIT(times_have_six_digits),
    UNIT(the_first_one_creates_it_and_renews),
    UNIT(a_follower_waits_and_takes_over),
    UNIT(only_a_change_proves_anything),
    UNIT(refusals_make_no_busy_loop),
    UNIT(a_leader_stops_in_time),
    UNIT(it_is_given_up_at_the_end),
    UNIT(one_leader_at_a_time_and_soon_another),
    UNIT_END
};
