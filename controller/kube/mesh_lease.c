
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * Who holds the Lease.  Two traps that were recorded: a PUT that changes
 * nothing is answered 200 whatever version it names, so only an answer with
 * a new version and our own renewTime proves anything; and a renewTime
 * without six digits of a fraction is a 400.
 */

#include <mesh_backoff.h>
#include <mesh_lease.h>


static void mesh_lease_task(mesh_lease_t *lease, mesh_lease_do_e task,
    uint64_t at_ms);
static void mesh_lease_fill(mesh_lease_t *lease, uint64_t wall_us);
static void mesh_lease_got(mesh_lease_t *lease,
    const mesh_lease_record_t *record, uint64_t now_ms, uint32_t random);
static int mesh_lease_is_proof(const mesh_lease_t *lease, int status,
    const mesh_lease_record_t *record);
static uint64_t mesh_lease_over_ms(const mesh_lease_t *lease);


void
mesh_lease_init(mesh_lease_t *lease, const char *me)
{
    memset(lease, 0, sizeof(mesh_lease_t));

    snprintf(lease->me, sizeof(lease->me), "%s", me);
    lease->task = MESH_LEASE_GET;
}


mesh_lease_do_e
mesh_lease_next(mesh_lease_t *lease, uint64_t now_ms, uint64_t wall_us,
    uint32_t random)
{
    (void) random;

    if (lease->leader
        && now_ms - lease->renewed_ms >= MESH_LEASE_DEADLINE_MS)
    {
        lease->leader = 0;
    }

    if (lease->released || lease->busy) {
        return MESH_LEASE_WAIT;
    }

    if (lease->releasing) {

        if (!lease->leader) {
            lease->released = 1;
            return MESH_LEASE_WAIT;
        }

        lease->task = MESH_LEASE_UPDATE;

    } else if (now_ms < lease->at_ms) {
        return MESH_LEASE_WAIT;
    }

    lease->busy = 1;
    lease->began_ms = now_ms;

    if (lease->task != MESH_LEASE_GET) {
        mesh_lease_fill(lease, wall_us);
    }

    return lease->task;
}


uint64_t
mesh_lease_wait(const mesh_lease_t *lease, uint64_t now_ms)
{
    uint64_t  at, deadline;

    at = lease->busy ? UINT64_MAX : lease->at_ms;

    if (lease->leader) {
        deadline = lease->renewed_ms + MESH_LEASE_DEADLINE_MS;
        at = mesh_min(at, deadline);
    }

    if (at == UINT64_MAX) {
        return MESH_LEASE_POLL_MS;         /* the request ends by itself */
    }

    return at > now_ms ? at - now_ms : 0;
}


/* renewal, takeover, release, or the first one ever */

static void
mesh_lease_fill(mesh_lease_t *lease, uint64_t wall_us)
{
    mesh_lease_record_t  *sent;

    /* never the same twice, whatever the clock does: a PUT must change */

    if (wall_us == lease->wrote_us) {
        wall_us++;
    }

    lease->wrote_us = wall_us;

    sent = &lease->sent;
    *sent = lease->seen;

    mesh_lease_time(wall_us, sent->renewed);

    if (lease->task == MESH_LEASE_CREATE) {
        memset(sent, 0, sizeof(mesh_lease_record_t));
        mesh_lease_time(wall_us, sent->renewed);
    }

    if (lease->releasing) {
        lease->giving_up = 1;
        sent->holder[0] = '\0';
        sent->duration_s = 1;
        return;
    }

    if (!lease->leader) {
        memcpy(sent->acquired, sent->renewed, sizeof(sent->acquired));
        sent->transitions += (lease->task == MESH_LEASE_UPDATE);
    }

    memcpy(sent->holder, lease->me, sizeof(sent->holder));
    sent->duration_s = MESH_LEASE_DURATION_S;
}


void
mesh_lease_answer(mesh_lease_t *lease, int status,
    const mesh_lease_record_t *record, uint64_t now_ms, uint32_t random)
{
    uint64_t         delay;
    mesh_lease_do_e  task;

    lease->busy = 0;
    task = lease->task;

    if (lease->giving_up) {
        lease->leader = 0;
        lease->released = 1;
        return;
    }

    if (task == MESH_LEASE_GET) {

        if (status == 200 && record) {
            mesh_lease_got(lease, record, now_ms, random);
            return;
        }

        if (status == 404) {
            mesh_lease_task(lease, MESH_LEASE_CREATE, now_ms);
            return;
        }

    } else if (mesh_lease_is_proof(lease, status, record)) {
        lease->seen = *record;
        lease->seen_ms = now_ms;
        lease->renewed_ms = lease->began_ms;
        lease->beaten = 0;

        /* unless the answer took so long that it proves nothing any more */

        lease->leader = now_ms - lease->began_ms < MESH_LEASE_DEADLINE_MS;

        mesh_lease_task(lease, MESH_LEASE_UPDATE,
                        lease->began_ms + MESH_LEASE_POLL_MS);
        return;

    } else if (status == 409 || status == 404 || status == 200
               || status == 201)
    {
        /* somebody else was quicker, or it is gone: looked at once, but not
           again and again; or nothing changed; or there is no namespace */

        delay = mesh_backoff_jitter(MESH_LEASE_RETRY_MS, 20, random);

        if (lease->beaten == 0
            && (status == 409
                || (status == 404 && task == MESH_LEASE_UPDATE)))
        {
            delay = 0;
        }

        lease->beaten = 1;

        mesh_lease_task(lease, MESH_LEASE_GET, now_ms + delay);
        return;
    }

    delay = mesh_backoff_jitter(MESH_LEASE_RETRY_MS, 20, random);

    mesh_lease_task(lease, task == MESH_LEASE_CREATE ? MESH_LEASE_GET : task,
                    now_ms + delay);
}


static void
mesh_lease_got(mesh_lease_t *lease, const mesh_lease_record_t *record,
    uint64_t now_ms, uint32_t random)
{
    int       ours;
    uint64_t  poll;

    if (strcmp(record->version, lease->seen.version) != 0
        || strcmp(record->renewed, lease->seen.renewed) != 0)
    {
        lease->seen_ms = now_ms;
    }

    lease->seen = *record;

    ours = (strcmp(record->holder, lease->me) == 0);

    if (lease->leader && !ours) {
        lease->leader = 0;
    }

    if (ours || record->holder[0] == '\0') {
        mesh_lease_task(lease, MESH_LEASE_UPDATE, now_ms);
        return;
    }

    lease->beaten = 0;

    /* when it ends we do not look again: the version tells if it was renewed
       in the last moment */

    poll = now_ms + mesh_backoff_jitter(MESH_LEASE_POLL_MS, 10, random)
           - MESH_LEASE_POLL_MS / 10;

    if (poll >= mesh_lease_over_ms(lease)) {
        mesh_lease_task(lease, MESH_LEASE_UPDATE, mesh_lease_over_ms(lease));
        return;
    }

    mesh_lease_task(lease, MESH_LEASE_GET, poll);
}


void
mesh_lease_release(mesh_lease_t *lease)
{
    lease->releasing = 1;
}


static void
mesh_lease_task(mesh_lease_t *lease, mesh_lease_do_e task, uint64_t at_ms)
{
    lease->task = task;
    lease->at_ms = at_ms;
}


static int
mesh_lease_is_proof(const mesh_lease_t *lease, int status,
    const mesh_lease_record_t *record)
{
    return (status == 200 || status == 201) && record
           && strcmp(record->version, lease->sent.version) != 0
           && strcmp(record->holder, lease->me) == 0
           && strcmp(record->renewed, lease->sent.renewed) == 0;
}


static uint64_t
mesh_lease_over_ms(const mesh_lease_t *lease)
{
    unsigned  duration_s;

    duration_s = mesh_max(lease->seen.duration_s, 1u);
    duration_s = mesh_min(duration_s, (unsigned) MESH_LEASE_DURATION_MAX_S);

    return lease->seen_ms + duration_s * 1000;
}


void
mesh_lease_time(uint64_t wall_us, char buf[MESH_LEASE_TIME_BYTES])
{
    time_t     seconds;
    struct tm  tm;

    seconds = (time_t) (wall_us / 1000000);

    (void) gmtime_r(&seconds, &tm);

    snprintf(buf, MESH_LEASE_TIME_BYTES,
             "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
             (unsigned) (tm.tm_year + 1900) % 10000,
             (unsigned) (tm.tm_mon + 1) % 100, (unsigned) tm.tm_mday % 100,
             (unsigned) tm.tm_hour % 100, (unsigned) tm.tm_min % 100,
             (unsigned) tm.tm_sec % 100,
             (unsigned) (wall_us % 1000000));
}
