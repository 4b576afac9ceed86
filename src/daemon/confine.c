#include "daemon/confine.h"

#include "base/landlock_files.h"

#include <limits.h>
#include <linux/landlock.h>

static int allow_in(int ruleset, const char *directory, const char *name, uint64_t access, struct berm_error *err)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
        return berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", directory);
    return landlock_files_allow(ruleset, path, access, err);
}

static int allow_certificates(int ruleset, const struct config_list *files, struct berm_error *err)
{
    for (size_t i = 0; i < files->count; i++)
        if (landlock_files_allow_certificate(ruleset, files->items[i], err) < 0)
            return -1;
    return 0;
}

/* What is read again while the program runs. */
static int allow_reloads(int ruleset, const struct config *config, struct berm_error *err)
{
    if (config->keys_file && landlock_files_allow_beside(ruleset, config->keys_file, err) < 0)
        return -1;
    if (config->bindings_file && landlock_files_allow_beside(ruleset, config->bindings_file, err) < 0)
        return -1;
    if (config->edge_link_keys && landlock_files_allow_beside(ruleset, config->edge_link_keys, err) < 0)
        return -1;
    if (allow_certificates(ruleset, &config->tls_certificate, err) < 0 ||
        allow_certificates(ruleset, &config->tls_key, err) < 0)
        return -1;
    return 0;
}

/*
 * The daemon connects to any port inside of a sandbox, which Landlock cannot tell from the host's. With the Docker
 * API it also listens on ports of the loopback that workerd chose to remember.
 */
int confine_prepare(const struct config *config, struct berm_error *err)
{
    _cleanup_close_ int ruleset = landlock_files_new(config->docker_socket != NULL, err);

    if (ruleset < 0)
        return ruleset;
    if (allow_in(ruleset, config->data, "state", LANDLOCK_WRITING, err) < 0 ||
        landlock_files_allow(ruleset, config->images, LANDLOCK_READING, err) < 0 ||
        allow_reloads(ruleset, config, err) < 0)
        return -1;
    return TAKE_FD(ruleset);
}

int confine_prepare_edge(const struct config *config, struct berm_error *err)
{
    _cleanup_close_ int ruleset = landlock_files_new(false, err);

    if (ruleset < 0)
        return ruleset;
    return allow_reloads(ruleset, config, err) < 0 ? -1 : TAKE_FD(ruleset);
}

int confine_enter(int ruleset_fd, struct berm_error *err)
{
    return landlock_files_enter(ruleset_fd, err);
}
