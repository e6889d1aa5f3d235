/* Loads the native library as the executable does and, in a network namespace, makes a TAP device: load LIBRARY */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmn.h"

#define RING 4096u

#define CALL(name) __typeof__(&name) call_##name = (__typeof__(&name))dlsym(library, #name)

int main(int count, char **words) {
	static const char conf[] = "tap=vt0\nrx=4096\ntx=4096\n";
	char text[1024];
	void *library = dlopen(count > 1 ? words[1] : "", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		printf("%s\n", dlerror());
		return 1;
	}
	CALL(vmn_abi);
	CALL(vmn_caps);
	CALL(vmn_start);
	CALL(vmn_stop);
	printf("abi=%x\n", call_vmn_abi());
	call_vmn_caps(text, sizeof text);
	fputs(text, stdout);
	void *rx = aligned_alloc(64, VMN_RING_HEADER + RING), *tx = aligned_alloc(64, VMN_RING_HEADER + RING);
	int32_t id = call_vmn_start(conf, sizeof conf - 1, rx, tx, text, sizeof text);
	printf("started=%d\n%s", id, text);
	if (id >= 0) printf("stopped=%d\n", call_vmn_stop(id));
	return 0;
}
