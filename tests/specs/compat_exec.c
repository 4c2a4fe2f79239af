// cc -O1 -static -nostdlib -ffreestanding -fno-pie -no-pie -fno-stack-protector -fcf-protection=none
//
// Calls `execve` (11) or `execveat` (358) of the 32-bit table, from a 64-bit and from a 32-bit program (-m64, -m32). It
// does not use a C library, because a machine may have only the 64-bit one. It lies below 4 GiB, so that its addresses
// have 32 bits.
typedef unsigned int u32;
#define AT_FDCWD -100
static char strings[65536] __attribute__((aligned(16)));
static u32 items[600];
static long call(long nr, long b, long c, long d, long s, long i) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(b), "c"(c), "d"(d), "S"(s), "D"(i) : "memory");
    return result;
}
static char *copy(char *to, const char *from) {
    while ((*to++ = *from++)) {}
    return to;
}
__attribute__((used)) void begin(long *stack) {
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    char *to = strings;
    long name = (long)to;
    int i;
    to = copy(to, argv[2]);
    for (i = 2; i < argc && i < 590; i++) {
        items[i - 2] = (u32)(long)to;
        to = copy(to, argv[i]);
    }
    items[i - 2] = 0;
    long list = argv[1][1] == 'f' ? 16 : (long)items;
    long result = argv[1][0] == 'a' ? call(358, AT_FDCWD, name, list, 0, 0) : call(11, name, list, 0, 0, 0);
    call(1, result < 0 ? -result : 99, 0, 0, 0, 0);
    for (;;) {}
}
#ifdef __x86_64__
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#else
__asm__(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call begin\n");
#endif
