# The guest's boot ROM (64 KiB, in place of a BIOS): from reset to the Linux kernel in three jumps,
# real mode -> protected mode -> long mode. All that it needs is in RAM already, put there by Bochs:
# see the memory map in host_tool.cpp.
#
# A kernel that panics or reboots resets the CPU (panic=-1), which would boot it again, for ever. So the
# first boot leaves a mark in the battery-backed CMOS memory, and a second one switches the machine off.

	.set	rom_address, 0xf0000		# where the CPU sees this file, besides below 4 GiB
	.set	page_tables, 0x1000
	.set	boot_params, 0x7000
	.set	kernel_entry, 0x8ff8
	.set	cmos_mark, 0x60			# a CMOS byte that nobody uses
	.set	mark_value, 0x5a
	.set	shutdown_port, 0x8900		# Bochs ends when it reads "Shutdown" there

	.code16
	.text
	.globl	_start
_start:
real_mode:
	cli
	cld
	movb	$cmos_mark, %al
	outb	%al, $0x70
	inb	$0x71, %al
	cmpb	$mark_value, %al
	je	switch_off
	movb	$cmos_mark, %al
	outb	%al, $0x70
	movb	$mark_value, %al
	outb	%al, $0x71
	lgdtl	%cs:(gdt_pointer - _start)
	movl	%cr0, %eax
	orb	$1, %al				# PE: protected mode
	movl	%eax, %cr0
	ljmpl	$0x08, $(rom_address + protected_mode - _start)

switch_off:
	movw	$shutdown_port, %dx
	movw	$(shutdown_word - _start), %si
	movw	$8, %cx
1:	lodsb	%cs:(%si), %al
	outb	%al, %dx
	loop	1b
2:	hlt
	jmp	2b
shutdown_word:
	.ascii	"Shutdown"

	.code32
protected_mode:
	movw	$0x18, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$0x7ff0, %esp			# never used: nothing here pushes
	movl	%cr4, %eax
	orl	$0x20, %eax			# PAE
	movl	%eax, %cr4
	movl	$page_tables, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx		# EFER
	rdmsr
	orl	$0x100, %eax			# LME: long mode
	wrmsr
	movl	%cr0, %eax
	andl	$0x9fffffff, %eax		# CD = NW = 0: caches on
	orl	$0x80000000, %eax		# PG: paging
	movl	%eax, %cr0
	ljmpl	$0x10, $(rom_address + long_mode - _start)

	.code64
long_mode:
	movl	$boot_params, %esi		# Linux' 64-bit boot protocol
	xorl	%edi, %edi
	xorl	%ebp, %ebp
	xorl	%ebx, %ebx
	movl	kernel_entry, %eax
	jmp	*%rax

	.balign	16
gdt:	.quad	0
	.quad	0x00cf9b000000ffff		# 0x08: 32-bit code
	.quad	0x00af9b000000ffff		# 0x10: 64-bit code
	.quad	0x00cf93000000ffff		# 0x18: data
gdt_pointer:
	.word	31
	.long	rom_address + gdt - _start

	.org	0xfff0				# the reset vector
	.code16
	ljmpw	$0xf000, $(real_mode - _start)
	.org	0x10000
