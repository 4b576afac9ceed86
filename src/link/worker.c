#include "link/worker.h"

#include "link/confine.h"
#include "link/credentials.h"
#include "link/listen.h"

#include "base/log.h"

#include <ares.h>

struct worker {
    const struct link_options *options;
    struct loop *loop;
    struct core core;
    struct dialler *dialler;
    struct listener *listener;
};

static void on_signal(struct loop *loop, const struct signalfd_siginfo *info, void *data)
{
    struct worker *w = data;
    struct berm_error err;

    (void)loop, (void)info;
    if (!w->listener)
        return;
    if (listener_reload(w->listener, &err) < 0)
        log_error("certificate_not_read", "reason", err.message);
    else
        log_info("certificate_read");
}

static int watch_signals(struct worker *w)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    return loop_signals(w->loop, &signals, on_signal, w);
}

static int start_dialler(struct worker *w, struct berm_error *err)
{
    const struct link_options *o = w->options;

    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "resolver");
    w->core.credentials = credentials_for_dialling(o->authority, err);
    if (!w->core.credentials)
        return -1;
    w->dialler = dialler_new(&w->core, o->host, o->port, o->transport);
    return w->dialler ? 0 : berm_fail(err, BERM_E_SYSTEM, errno, "dial");
}

static int start_listener(struct worker *w, struct berm_error *err)
{
    const struct link_options *o = w->options;

    w->listener = listener_new(&w->core, o->tcp, o->udp, o->certificate, o->key, err);
    return w->listener ? 0 : -1;
}

static int start(struct worker *w, struct link_table *table, struct berm_error *err)
{
    const struct link_options *o = w->options;

    w->loop = loop_new();
    if (!w->loop || watch_signals(w) < 0 ||
        core_init(&w->core, w->loop, o->wire, table, o->listens ? &listen_role : &dial_role) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "start");
    if ((o->listens ? start_listener(w, err) : start_dialler(w, err)) < 0)
        return -1;
    return link_confine(o, err);
}

int worker_run(const struct link_options *options, struct link_table *table)
{
    static struct worker w;
    struct berm_error err;
    int rc;

    w.options = options;
    if (start(&w, table, &err) < 0) {
        log_error("start_failed", "reason", err.message);
        return 1;
    }
    rc = loop_run(w.loop) < 0 || w.core.misled;
    if (w.core.misled)
        log_error("wire_broken", "reason", "bermd said what it may not");
    dialler_free(w.dialler);
    core_fini(&w.core);
    listener_free(w.listener);
    credentials_unref(w.core.credentials);
    loop_free(w.loop);
    return rc;
}
