/* tests/support/sanitized.h - SANITIZED: 1 in a build with a sanitizer that watches memory or
 * threads, else 0. Such a build is several times slower and its frames are larger; tests that count
 * seconds or bytes, or only repeat themselves, ask. */
#ifndef SHOAL_TESTS_SANITIZED_H
#define SHOAL_TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
