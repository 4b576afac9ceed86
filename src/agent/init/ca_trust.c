#include "ca_trust.h"

#include "agent/agent.h"
#include "agent/files/make_parents.h"
#include "base/log.h"
#include "base/sys.h"

#include <fcntl.h>
#include <sys/stat.h>

#define DEFAULT_DIRECTORY   "/etc/cloudflare/certs"
#define DEFAULT_CERTIFICATE DEFAULT_DIRECTORY "/cloudflare-containers-ca.crt"
#define WAIT_MS             5000
#define POLL_MS             20
#define CERTIFICATE_MAX     ((size_t)1024 * 1024)
#define BUNDLE_MAX          ((size_t)16 * 1024 * 1024)

static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
};

static void fail(struct agent *agent, const char *event, const char *path, const char *reason)
{
    log_error(event, "path", path, "error", reason);
    agent->exit_code = 1;
    loop_stop(agent->loop);
}

/* The environment is complete: interpreters that wait for contexts start with it. */
static void done(struct agent *agent)
{
    if (agent->ca_trust.on_done)
        agent->ca_trust.on_done(agent);
    if (!agent->shutdown.begun)
        interpreter_warm(&agent->interpreter);
}

static const char *certificate_path(const struct agent *agent)
{
    const char *path = env_get(&agent->env, "SANDBOX_CA_CERT");

    return path && path[0] ? path : DEFAULT_CERTIFICATE;
}

/* The whole of a regular file; `ret` is empty and its limit set. -1 with errno. */
static int read_file(const char *path, struct buf *ret)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    for (;;) {
        char *at = buf_reserve(ret, 65536);
        ssize_t n = at ? RETRY_EINTR(read(fd, at, 65536)) : -1;
        if (n == 0)
            return 0;
        if (n < 0) {
            errno = at ? errno : EFBIG;
            return -1;
        }
        buf_commit(ret, (size_t)n);
    }
}

static const char *find_bundle(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(bundles); i++)
        if (access(bundles[i], F_OK) == 0)
            return bundles[i];
    return NULL;
}

static int append_once(const char *bundle, struct str certificate)
{
    _cleanup_(buf_free) struct buf there;
    _cleanup_close_ int fd = -EBADF;

    buf_init(&there, BUNDLE_MAX);
    if (read_file(bundle, &there) < 0)
        return -1;
    if (memmem(buf_head(&there), there.len, certificate.p, certificate.n))
        return 0;
    fd = open(bundle, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || write_all(fd, "\n", 1) < 0 || write_all(fd, certificate.p, certificate.n) < 0)
        return -1;
    return 0;
}

static int set_variables(struct agent *agent, const char *bundle)
{
    static const char *const names[] = { "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
                                         "GIT_SSL_CAINFO" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (env_set(&agent->env, str_from(names[i]), str_from(bundle)) < 0)
            return -1;
    return 0;
}

/* What is started from now on trusts it. Without a bundle of the system's that is only Node.js. */
static int trust(struct agent *agent, const char *path, struct str certificate, struct berm_error *err)
{
    const char *bundle = find_bundle();

    if (env_set(&agent->env, STR("NODE_EXTRA_CA_CERTS"), str_from(path)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "%s", path);
    if (!bundle) {
        log_warn("ca_bundle_not_found", "effect", "only Node.js trusts the certificate");
        return 0;
    }
    if (append_once(bundle, certificate) < 0 || set_variables(agent, bundle) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", bundle);
    log_info("ca_certificate_trusted", "path", path, "bundle", bundle);
    return 0;
}

static void trust_file(struct agent *agent, const char *path)
{
    _cleanup_(buf_free) struct buf certificate;
    struct berm_error err;

    buf_init(&certificate, CERTIFICATE_MAX);
    if (read_file(path, &certificate) < 0)
        fail(agent, "ca_certificate_unreadable", path, strerror(errno));
    else if (trust(agent, path, buf_str(&certificate), &err) < 0)
        fail(agent, "ca_certificate_not_trusted", path, err.message);
    else
        done(agent);
}

int ca_trust_certificate(struct agent *agent, struct str certificate, struct berm_error *err)
{
    _cleanup_close_ int fd = -EBADF;

    if (make_directories(AT_FDCWD, DEFAULT_DIRECTORY) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, DEFAULT_DIRECTORY);
    fd = open(DEFAULT_CERTIFICATE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    if (fd < 0 || write_all(fd, certificate.p, certificate.n) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, DEFAULT_CERTIFICATE);
    return trust(agent, DEFAULT_CERTIFICATE, certificate, err);
}

static void look(struct loop_timer *timer)
{
    struct agent *agent = container_of(timer, struct agent, ca_trust.timer);
    const char *path = certificate_path(agent);

    if (access(path, F_OK) == 0)
        trust_file(agent, path);
    else if (loop_now_ms(agent->loop) >= agent->ca_trust.give_up_ms)
        fail(agent, "ca_certificate_missing", path, "it did not appear within 5 s");
    else if (loop_timer_start(agent->loop, timer, POLL_MS) < 0)
        fail(agent, "ca_certificate_missing", path, "out of memory");
}

static void begin(struct loop_timer *timer)
{
    struct agent *agent = container_of(timer, struct agent, ca_trust.timer);
    const char *wanted = env_get(&agent->env, "SANDBOX_INTERCEPT_HTTPS");

    if (!wanted || strcmp(wanted, "1") != 0) {
        done(agent);
        return;
    }
    agent->ca_trust.give_up_ms = loop_now_ms(agent->loop) + WAIT_MS;
    loop_timer_init(timer, look);
    look(timer);
}

void ca_trust_settle(struct agent *agent)
{
    if (!loop_timer_armed(&agent->ca_trust.timer))
        return;
    loop_timer_stop(agent->loop, &agent->ca_trust.timer);
    agent->ca_trust.timer.callback(&agent->ca_trust.timer);
}

int ca_trust_begin(struct agent *agent, void (*on_done)(struct agent *agent))
{
    if (loop_timer_armed(&agent->ca_trust.timer))
        return 0;
    agent->ca_trust.on_done = on_done;
    loop_timer_init(&agent->ca_trust.timer, begin);
    return loop_timer_start(agent->loop, &agent->ca_trust.timer, 0);
}
