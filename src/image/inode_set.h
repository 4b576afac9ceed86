/*
 * inode_set.h - a growing set of inode numbers of one file system. Private to src/image.
 */
#pragma once

#include "base/base.h"

struct inode_set;

struct inode_set *inode_set_new(void); /* NULL without memory */
void inode_set_free(struct inode_set *set);
int inode_set_add(struct inode_set *set, uint64_t inode); /* -1 without memory */
bool inode_set_has(const struct inode_set *set, uint64_t inode);
