/*
 * What the C++ library of a glibc system wants of its C library and musl does not have, so that limanet's executable for
 * musl runs on Debian's musl: there is no package with a C++ library for it. For tests only.
 */
#include <locale.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <time.h>

size_t strftime_l(char *restrict, size_t, const char *restrict, const struct tm *restrict, locale_t);

char __libc_single_threaded = 0;
/* only the names of processor features that nobody asks for */
int __cpu_model[4];

int __cpu_indicator_init(void) { return 0; }

uint32_t arc4random(void)
{
	uint32_t word = 0;
	while (getrandom(&word, sizeof word, 0) < 0)
		;
	return word;
}

size_t __strftime_l(char *restrict to, size_t room, const char *restrict format, const struct tm *restrict time,
		    locale_t locale)
{
	return strftime_l(to, room, format, time, locale);
}

/* destructors of a thread's variables: a thread's memory is given up with the process instead */
int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library)
{
	(void)destroy, (void)object, (void)library;
	return 0;
}

unsigned long getauxval(unsigned long type);

unsigned long __getauxval(unsigned long type) { return getauxval(type); }

/* -1: not known, and the unwinder walks the list of loaded objects */
int _dl_find_object(void *at, void *result)
{
	(void)at, (void)result;
	return -1;
}
