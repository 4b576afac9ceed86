/* probe_fuse.h - the commands of the probe about FUSE: a file system of its own, and calls as an attacker makes
 * them. */
#pragma once

/* What they answer is written to `out`. */
void probe_fuse_serve(int out, const char *mode, const char *target);
void probe_fuse_hoard(int out, const char *target);
void probe_fuse_storm(int out, const char *target);
void probe_fuse_mount(int out, char **arg); /* source, target, type, flags, options ("FUSE" for fresh ones) */
void probe_fuse_umount(int out, char **arg);
