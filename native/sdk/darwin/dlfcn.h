/* Darwin's <dlfcn.h>, as far as this project uses it (dyld, include/dlfcn.h). */
#ifndef DLFCN_H
#define DLFCN_H

#define RTLD_DEFAULT ((void *)-2)

void *dlsym(void *handle, const char *name);

#endif
