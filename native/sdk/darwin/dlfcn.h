/* Darwin's <dlfcn.h>, as far as this project uses it (dyld, include/dlfcn.h). */
#ifndef DLFCN_H
#define DLFCN_H

#ifndef SDK_CHECK
#define RTLD_DEFAULT ((void *)-2)
#endif

void *dlsym(void *handle, const char *name);

#endif
