/*
 * oci_child.h - what the children of the OCI back end share: they run on the host's mounts, in a private copy.
 */
#pragma once

#include "base/base.h"
#include "oci.h"

/* 0 to 2 become the null device and 3 `listen_fd` (or nothing); everything else is closed by exec. */
int oci_arrange_descriptors(const char *null_device, int listen_fd);

/* A file for oci_explain(), in the directory of the sandbox. */
int oci_open_log(const struct oci *oci, const char *name);

/* oci_gvisor.c: the rest of the child of a sandbox whose root is attached at OCI_ROOT and bundle at OCI_BUNDLE. */
_Noreturn void oci_gvisor_main(const struct oci *oci, const struct child_plan *plan, int status_fd);
