/*
 * ca_trust.h - SANDBOX_INTERCEPT_HTTPS=1: outgoing TLS is intercepted, so the interceptor's certificate authority
 * is made known to what runs in the sandbox.
 *
 * The certificate is SANDBOX_CA_CERT, or where Cloudflare's runtime puts it. It may come a little later than we do,
 * which is waited for up to 5 s. Node.js is pointed to it; everything else gets it by way of the system's bundle,
 * to which it is appended (once), and which the variables of curl, OpenSSL, Python's requests and git then name.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct agent;

struct ca_trust {
    struct loop_timer timer;
    uint64_t give_up_ms;
    void (*on_done)(struct agent *agent);
};

/*
 * on_done (may be NULL) comes from the loop, when what is started from now on will trust it, soon if nothing is to
 * be done. If that fails, the agent ends with code 1: it would otherwise run commands whose every connection is
 * refused. Does nothing while it is under way. 0, or -1 without memory.
 */
int ca_trust_begin(struct agent *agent, void (*on_done)(struct agent *agent));

/*
 * Looks for the certificate now, if it is waited for: before a request is served, which may start a session, whose
 * environment is that of its start. A request can come in the same turn of the loop as the environment, or between
 * two looks.
 */
void ca_trust_settle(struct agent *agent);

/*
 * A certificate in PEM that bermd has told: it is written to Cloudflare's place and trusted at once, by what is
 * started from then on. -1: not by everything, and this is an error.
 */
int ca_trust_certificate(struct agent *agent, struct str certificate, struct berm_error *err);
