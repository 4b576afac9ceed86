/*
 * oci_config.c - the bundle's config.json, from a fixed template. What varies are numbers, the names of system
 * calls and capabilities from our own tables, and the host name, which is letters, digits and hyphens.
 */
#include "oci.h"

#include "base/base64.h"
#include "caps.h"
#include "filter.h"
#include "range.h"

#include <fcntl.h>
#include <linux/capability.h>

#define CAP(name)                                                                                                  \
    {                                                                                                              \
        CAP_##name, "CAP_" #name                                                                                   \
    }

static const struct {
    int number;
    const char *name;
} cap_names[] = {
    CAP(CHOWN),  CAP(DAC_OVERRIDE), CAP(FOWNER),           CAP(FSETID),     CAP(KILL),    CAP(SETGID),
    CAP(SETUID), CAP(SETPCAP),      CAP(NET_BIND_SERVICE), CAP(SYS_CHROOT), CAP(SETFCAP),
};

static void write_caps(FILE *out, const char *set)
{
    const char *comma = "";

    fprintf(out, "\"%s\":[", set);
    for (size_t i = 0; i < ARRAY_SIZE(cap_names); i++) {
        if (!(caps_sandbox() & UINT64_C(1) << cap_names[i].number))
            continue;
        fprintf(out, "%s\"%s\"", comma, cap_names[i].name);
        comma = ",";
    }
    fputc(']', out);
}

static void write_process(FILE *out, const struct oci *oci, const struct child_plan *plan)
{
    char control[64] = "";

    if (!oci_detaches(oci)) /* it cannot inherit its socket there */
        snprintf(control, sizeof(control), ",\"--control-port\",\"%d\"", OCI_CONTROL_PORT);
    fprintf(out,
            "\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"/\","
            "\"args\":[\"/" OCI_AGENT_NAME "\",\"--sandbox\"%s],\"env\":["
            "\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"HOME=/root\",\"HOSTNAME=%s\"],"
            "\"noNewPrivileges\":true,\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":%u,\"soft\":%u},"
            "{\"type\":\"RLIMIT_CORE\",\"hard\":0,\"soft\":0}],\"capabilities\":{",
            control, plan->hostname, plan->nofile, plan->nofile);
    write_caps(out, "bounding");
    fputc(',', out);
    write_caps(out, "permitted");
    fputc(',', out);
    write_caps(out, "effective");
    fputs("}},", out);
}

/*
 * Runtimes put nodes and links of their own into /dev, so it has to be theirs. /sys stays the one of the tree: they
 * could not mount sysfs, for the network namespace is not the sandbox's.
 */
#define MOUNTS                                                                                                     \
    "{\"destination\":\"/"                                                                                         \
    "proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"                 \
    "{\"destination\":\"/"                                                                                         \
    "dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"mode=755\",\"size=64k\"]},"           \
    "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","  \
    "\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\",\"max=256\"]},"                                     \
    "{\"destination\":\"/dev/"                                                                                     \
    "shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\",\"nodev\","                    \
    "\"mode=1777\",\"size=64m\",\"nr_inodes=65536\"]}"

/* The same as procfs.c has. A path that the kernel does not have is skipped by the runtime. */
#define MASKED                                                                                                     \
    "[\"/proc/acpi\",\"/proc/asound\",\"/proc/scsi\",\"/proc/interrupts\",\"/proc/kallsyms\",\"/proc/kcore\","     \
    "\"/proc/keys\",\"/proc/latency_stats\",\"/proc/sched_debug\",\"/proc/timer_list\",\"/proc/timer_stats\"]"
#define READ_ONLY                                                                                                  \
    "[\"/proc/sys\",\"/proc/irq\",\"/proc/bus\",\"/proc/fs\",\"/proc/driver\",\"/proc/sysrq-trigger\"]"

/* crun takes our own program as it is, argument checks and all. */
static int write_filter_program(FILE *out, const struct filter_program *filter)
{
    size_t bytes = filter->count * sizeof(filter->insn[0]);
    _cleanup_free_ char *text = malloc(BASE64_ENCODED_SIZE(bytes));

    if (!text)
        return -1;
    fprintf(out, "\"annotations\":{\"run.oci.seccomp_bpf_data\":\"%.*s\"},",
            (int)base64_encode(filter->insn, bytes, text), text);
    return 0;
}

/* Whether a call is allowed by its name alone where only the specification's terms are there. */
static bool allowed_by_name(enum filter_verdict verdict)
{
    switch (verdict) {
    case FILTER_EPERM:
    case FILTER_ENOSYS:
    case FILTER_CHECK_UNSHARE:
    case FILTER_CHECK_SOCKET: /* these four have rules of their own */
    case FILTER_CHECK_SOCKETPAIR:
    case FILTER_CHECK_CLONE:
    case FILTER_CHECK_PERSONALITY:
        return false;
    default:
        return true;
    }
}

/*
 * The same calls in the terms of the specification, which cannot say all that the program says: checks that are a
 * short list of equal values are given so, other calls whose arguments we look at are allowed.
 */
static void write_filter_rules(FILE *out)
{
    static const char checked[] =
        "{\"names\":[\"socket\",\"socketpair\"],\"action\":\"SCMP_ACT_ALLOW\","
        "\"args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]},"
        "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2,\"op\":\"SCMP_"
        "CMP_EQ\"}]},"
        "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":10,\"op\":\"SCMP_"
        "CMP_EQ\"}]},"
        "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":16,\"op\":\"SCMP_"
        "CMP_EQ\"},"
        "{\"index\":2,\"value\":0,\"op\":\"SCMP_CMP_EQ\"}]},"
        "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060416,"
        "\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
        "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":0,\"op\":"
        "\"SCMP_CMP_EQ\"}]},"
        "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":4294967295,"
        "\"op\":\"SCMP_CMP_EQ\"}]}";

    fputs("\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"syscalls\":[{\"names\":[",
          out);
    for (size_t i = 0, written = 0; i < filter_sandbox_rule_count; i++)
        if (allowed_by_name(filter_sandbox_rules[i].verdict))
            fprintf(out, "%s\"%s\"", written++ ? "," : "", filter_sandbox_rules[i].name);
    fprintf(out, "],\"action\":\"SCMP_ACT_ALLOW\"},%s]},", checked);
}

static void write_linux(FILE *out, const struct oci *oci, const struct child_plan *plan)
{
    static const char mapping[] = "\"%s\":[{\"containerID\":0,\"hostID\":%u,\"size\":%u}],";

    fputs("\"linux\":{", out);
    if (oci_detaches(oci)) { /* runsc is in the user namespace already */
        fprintf(out, mapping, "uidMappings", plan->uid_base, RANGE_IDS);
        fprintf(out, mapping, "gidMappings", plan->uid_base, RANGE_IDS);
    }
    if (oci->kind == OCI_RUNC) {
        write_filter_rules(out);
        /* Below the group that has the limits; `delete` takes it away. */
        fprintf(out, "\"cgroupsPath\":\"%s/%s/" OCI_INNER_GROUP "\",", plan->cgroups->path, plan->name);
    }
    fprintf(out,
            "\"namespaces\":[%s{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"uts\"},{\"type\":\"ipc\"}],",
            oci_detaches(oci) ? "{\"type\":\"user\"},{\"type\":\"cgroup\"}," : "");
    fputs("\"maskedPaths\":" MASKED ",\"readonlyPaths\":" READ_ONLY "}}\n", out);
}

int oci_config_write(int bundle_fd, const struct oci *oci, const struct child_plan *plan)
{
    int fd = openat(bundle_fd, "config.json", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "we");
    bool fine;

    if (!out) {
        close_fd(&fd);
        return -1;
    }
    fputs("{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"" OCI_ROOT "\",\"readonly\":false},", out);
    fprintf(out, "\"hostname\":\"%s\",", plan->hostname);
    fputs("\"mounts\":[" MOUNTS "],", out);
    write_process(out, oci, plan);
    fine = oci->kind != OCI_CRUN || write_filter_program(out, plan->filter) == 0;
    write_linux(out, oci, plan);
    fine = !ferror(out) && fine;
    return fclose(out) == 0 && fine ? 0 : -1;
}
