/* listen.c - the unix socket, made while the daemon is still root: its mode and group are the access control. */
#include "base/sys.h"
#include "daemon/config.h"
#include "daemon/docker/docker.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

static int fill_address(const char *path, struct sockaddr_un *ret, struct berm_error *err)
{
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (str_copy(str_from(path), ret->sun_path, sizeof(ret->sun_path)) < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "the path of the docker socket is too long: %.64s", path);
    return 0;
}

/* Only what is a socket and has nobody behind it is removed. */
static int remove_stale(const char *path, const struct sockaddr_un *address, struct berm_error *err)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : berm_fail(err, BERM_E_SYSTEM, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return berm_fail(err, BERM_E_CONFLICT, 0, "%s exists and is no socket", path);
    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        return berm_fail(err, BERM_E_CONFLICT, 0, "another program serves %s", path);
    if (errno != ECONNREFUSED || unlink(path) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "replace %s", path);
    return 0;
}

static int make_directory(const char *path, struct berm_error *err)
{
    char parent[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path ||
        str_copy((struct str){ path, (size_t)(slash - path) }, parent, sizeof(parent)) < 0)
        return 0;
    if (mkdir(parent, 0755) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make %s", parent);
    return 0;
}

static int set_owner(const char *path, const struct config *config, struct berm_error *err)
{
    const struct group *group;

    if (!config->docker_socket_group)
        return 0;
    group = getgrnam(config->docker_socket_group);
    if (!group)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "there is no group %s for the docker socket",
                         config->docker_socket_group);
    if (chown(path, (uid_t)-1, group->gr_gid) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "give %s to group %s", path, config->docker_socket_group);
    return 0;
}

/* One of the choices of the option: octal digits. */
static mode_t socket_mode(const char *text)
{
    mode_t mode = 0;

    for (; *text; text++)
        mode = mode * 8 + (mode_t)(*text - '0');
    return mode;
}

int docker_listen(const struct config *config, struct berm_error *err)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const char *path = config->docker_socket;
    struct sockaddr_un address;
    mode_t before;
    int rc;

    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socket");
    if (fill_address(path, &address, err) < 0 || make_directory(path, err) < 0 ||
        remove_stale(path, &address, err) < 0)
        return -1;
    before = umask(0777); /* nobody may connect before mode and group are right */
    rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    umask(before);
    if (rc < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "listen on %s", path);
    if (set_owner(path, config, err) < 0)
        return -1;
    if (chmod(path, socket_mode(config->docker_socket_mode)) < 0 || listen(fd, SOMAXCONN) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "listen on %s", path);
    return TAKE_FD(fd);
}
