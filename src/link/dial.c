#include "link/dial.h"

#include "link/resolve.h"

#define PAUSE_FIRST_MS   100
#define PAUSE_MOST_MS    2000
#define STEADY_MS        5000 /* a link that lived so long was none that the edge throws out at once */
#define NEXT_ADDRESS_MS  250
#define QUIC_ALONE_MS    2000
#define UPGRADE_FIRST_MS 10000
#define UPGRADE_MOST_MS  300000

struct race {
    struct dialler *dialler;
    struct link *(*dial)(struct core *core, const struct link_target *target);
    size_t next; /* address to dial */
    struct link *tries[RESOLVE_MAX];
    size_t running;
    struct loop_timer next_timer;
    struct link *winner; /* up */
};

enum { QUIC, H2, RACES };

struct dialler {
    struct core *core;
    const char *host;
    uint16_t port;
    enum dial_transport transport;
    struct resolve *resolve;
    struct link_address addresses[RESOLVE_MAX];
    size_t count;
    struct race races[RACES];
    struct loop_timer h2_timer, round_timer;
    uint32_t pause_ms, upgrade_ms;
    uint64_t up_ms;          /* since when there is a link */
    enum link_reason reason; /* of this round's failures, that which says most */
    char text[LINK_TEXT];
};

/* --- a race --- */

static bool runs(const struct race *race)
{
    return race->running > 0;
}

static void note_failure(struct dialler *d, enum link_reason reason, const char *text)
{
    /* Not being trusted says more than not being reached, of another address or by the other transport. */
    if (d->reason && (d->reason != LINK_UNREACHABLE || reason == LINK_UNREACHABLE))
        return;
    d->reason = reason;
    snprintf(d->text, sizeof(d->text), "%s", text);
}

/* The next address that can be dialled at all. */
static void dial_next(struct race *race)
{
    struct dialler *d = race->dialler;

    while (race->next < d->count) {
        size_t i = race->next++;
        const struct link_target target = { d->addresses[i], d->host, d->core->credentials };

        race->tries[i] = race->dial(d->core, &target);
        if (race->tries[i]) {
            race->running++;
            if (race->next < d->count)
                loop_timer_start(d->core->loop, &race->next_timer, NEXT_ADDRESS_MS);
            return;
        }
        note_failure(d, LINK_UNREACHABLE, strerror(errno));
    }
}

static void on_next(struct loop_timer *timer)
{
    dial_next(container_of(timer, struct race, next_timer));
}

static void race_stop(struct race *race)
{
    loop_timer_stop(race->dialler->core->loop, &race->next_timer);
    race->next = race->dialler->count;
    for (size_t i = 0; i < RESOLVE_MAX; i++) {
        struct link *link = race->tries[i];

        race->tries[i] = NULL;
        if (link)
            core_close(link, LINK_CLOSED, "another try was quicker");
    }
    race->running = 0;
}

static void race_start(struct race *race)
{
    race_stop(race);
    race->next = 0;
    dial_next(race);
}

/* --- a round --- */

static void round_start(struct loop_timer *timer);

static uint32_t jittered(uint32_t ms)
{
    uint32_t random;

    random_bytes(&random, sizeof(random));
    return ms / 2 + random % (ms / 2 + 1);
}

/* Grows; the pause is told to bermd. */
static uint32_t again_later(struct dialler *d)
{
    uint32_t pause = jittered(d->pause_ms);

    d->pause_ms = MIN(d->pause_ms * 2, (uint32_t)PAUSE_MOST_MS);
    if (!d->core->draining)
        loop_timer_start(d->core->loop, &d->round_timer, pause);
    return pause;
}

/* Nothing is up, and nothing runs that could come up. */
static void round_failed(struct dialler *d)
{
    uint32_t pause;

    loop_timer_stop(d->core->loop, &d->h2_timer);
    pause = again_later(d);
    core_tell_failure(d->core, d->reason ? d->reason : LINK_UNREACHABLE, d->text, pause);
}

static bool any_up(const struct dialler *d)
{
    return d->races[QUIC].winner || d->races[H2].winner;
}

static void upgrade_later(struct dialler *d)
{
    loop_timer_start(d->core->loop, &d->round_timer, jittered(d->upgrade_ms));
    d->upgrade_ms = MIN(d->upgrade_ms * 2, (uint32_t)UPGRADE_MOST_MS);
}

static void on_h2_due(struct loop_timer *timer)
{
    struct dialler *d = container_of(timer, struct dialler, h2_timer);

    loop_timer_stop(d->core->loop, timer);
    race_start(&d->races[H2]);
    if (!runs(&d->races[QUIC]) && !runs(&d->races[H2]))
        round_failed(d);
}

/* A race has lost its last try. */
static void race_lost(struct dialler *d)
{
    if (d->core->draining || runs(&d->races[QUIC]) || runs(&d->races[H2]))
        return;
    if (loop_timer_armed(&d->h2_timer))
        on_h2_due(&d->h2_timer);
    else if (any_up(d))
        upgrade_later(d);
    else
        round_failed(d);
}

static void on_resolved(const struct link_address *addresses, size_t count, const char *text, void *data)
{
    struct dialler *d = data;

    d->resolve = NULL;
    d->count = count;
    memcpy(d->addresses, addresses, count * sizeof(*addresses));
    if (count == 0)
        note_failure(d, LINK_UNREACHABLE, text);
    if (d->transport == DIAL_AUTO && !any_up(d))
        loop_timer_start(d->core->loop, &d->h2_timer, QUIC_ALONE_MS);
    race_start(&d->races[d->transport == DIAL_H2 ? H2 : QUIC]);
    race_lost(d);
}

static void round_start(struct loop_timer *timer)
{
    struct dialler *d = container_of(timer, struct dialler, round_timer);

    d->reason = 0;
    d->text[0] = '\0';
    d->resolve = resolve_begin(d->core->loop, d->host, d->port, on_resolved, d);
    if (d->resolve)
        return;
    note_failure(d, LINK_NO_RESOURCES, "no memory");
    race_lost(d);
}

/* --- what the core tells --- */

/* What is known of a race's link is known once: as a try or as the winner. */
static bool take_try(struct race *race, const struct link *link)
{
    for (size_t i = 0; i < RESOLVE_MAX; i++) {
        if (race->tries[i] != link)
            continue;
        race->tries[i] = NULL;
        race->running--;
        return true;
    }
    return false;
}

static void stop_all(struct dialler *d)
{
    resolve_cancel(TAKE_PTR(d->resolve));
    loop_timer_stop(d->core->loop, &d->h2_timer);
    loop_timer_stop(d->core->loop, &d->round_timer);
    race_stop(&d->races[QUIC]);
    race_stop(&d->races[H2]);
}

static void on_up(struct core *core, struct link *link, enum link_transport transport)
{
    struct dialler *d = core->owner;
    struct race *race = &d->races[transport == LINK_QUIC ? QUIC : H2];

    take_try(race, link);
    race_stop(race);
    race->winner = link;
    d->up_ms = loop_now_ms(core->loop);
    if (transport == LINK_H2) {
        if (d->transport == DIAL_AUTO && !runs(&d->races[QUIC]))
            upgrade_later(d);
        return;
    }
    loop_timer_stop(core->loop, &d->h2_timer);
    race_stop(&d->races[H2]);
    d->upgrade_ms = UPGRADE_FIRST_MS;
    if (d->races[H2].winner)
        core_drain(TAKE_PTR(d->races[H2].winner));
}

static void on_try_failed(struct race *race, enum link_reason reason, const char *text)
{
    struct dialler *d = race->dialler;

    note_failure(d, reason, text);
    loop_timer_stop(d->core->loop, &race->next_timer);
    dial_next(race);
    if (!runs(race))
        race_lost(d);
}

/* Whether it was the link in use, not one that lost a race or drains and has a successor. */
static bool take_winner(struct dialler *d, const struct link *link)
{
    for (size_t i = 0; i < RACES; i++) {
        if (d->races[i].winner != link)
            continue;
        d->races[i].winner = NULL;
        return true;
    }
    return false;
}

static uint32_t dial_again(struct dialler *d)
{
    stop_all(d);
    if (loop_now_ms(d->core->loop) - d->up_ms >= STEADY_MS)
        d->pause_ms = PAUSE_FIRST_MS;
    return again_later(d);
}

static uint32_t on_down(struct core *core, struct link *link, enum link_reason reason, const char *text)
{
    struct dialler *d = core->owner;

    for (size_t i = 0; i < RACES; i++) {
        if (!take_try(&d->races[i], link))
            continue;
        on_try_failed(&d->races[i], reason, text);
        return 0;
    }
    if (!take_winner(d, link) || core->draining || any_up(d))
        return 0;
    return dial_again(d);
}

/* The edge is going to restart: its successor may be there already. */
static void on_far_side_drains(struct core *core, struct link *link)
{
    struct dialler *d = core->owner;

    if (!take_winner(d, link) || core->draining || any_up(d))
        return;
    dial_again(d);
}

static void on_drain(struct core *core)
{
    stop_all(core->owner);
}

const struct core_role dial_role = {
    .on_up = on_up,
    .on_down = on_down,
    .on_far_side_drains = on_far_side_drains,
    .on_drain = on_drain,
};

/* --- the object --- */

struct dialler *dialler_new(struct core *core, const char *host, uint16_t port, enum dial_transport transport)
{
    struct dialler *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    *d = (struct dialler){ .core = core,
                           .host = host,
                           .port = port,
                           .transport = transport,
                           .pause_ms = PAUSE_FIRST_MS,
                           .upgrade_ms = UPGRADE_FIRST_MS };
    for (size_t i = 0; i < RACES; i++) {
        d->races[i].dialler = d;
        d->races[i].dial = i == QUIC ? quic_dial : h2_dial;
        loop_timer_init(&d->races[i].next_timer, on_next);
    }
    loop_timer_init(&d->h2_timer, on_h2_due);
    loop_timer_init(&d->round_timer, round_start);
    core->owner = d;
    if (loop_timer_start(core->loop, &d->round_timer, 0) == 0)
        return d;
    free(d);
    return NULL;
}

/* Before the core's end, which is told to nobody then. */
void dialler_free(struct dialler *d)
{
    if (!d)
        return;
    d->core->draining = true;
    stop_all(d);
    free(d);
}
