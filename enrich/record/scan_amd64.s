#include "textflag.h"

// func find4(p *byte, n int, t *masks, hits *[batch]uint64) (found, at int)
//
// Thirty-two places at a time, without a jump at a hit: hits are frequent enough that a jump would cost more than the
// search. A byte belongs to the classes in table[low half] & table[high half]; a place is a hit
// where the classes of its four bytes, each by the tables of its own position, have one in common.
TEXT ·find4(SB), NOSPLIT, $0-48
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ t+16(FP), DI
	MOVQ hits+24(FP), R8
	XORQ R9, R9  // hits found
	XORQ AX, AX
	SUBQ $35, CX // the last place from which 32 bytes and the 3 behind them can be read
	JLT  none
	CMPQ CX, $(32*(32-1))
	JLE  begin
	MOVQ $(32*(32-1)), CX // as many as there is room for

begin:
	VBROADCASTI128 (DI), Y0
	VBROADCASTI128 16(DI), Y1
	VBROADCASTI128 32(DI), Y2
	VBROADCASTI128 48(DI), Y3
	VBROADCASTI128 64(DI), Y4
	VBROADCASTI128 80(DI), Y5
	VBROADCASTI128 96(DI), Y6
	VBROADCASTI128 112(DI), Y7
	MOVQ $15, DX
	VMOVQ DX, X8
	VPBROADCASTB X8, Y8
	VPXOR Y9, Y9, Y9

loop:
	VMOVDQU (SI)(AX*1), Y10
	VMOVDQU 1(SI)(AX*1), Y11
	VMOVDQU 2(SI)(AX*1), Y12
	VMOVDQU 3(SI)(AX*1), Y13
	VPSRLW  $4, Y10, Y14
	VPAND   Y8, Y10, Y10
	VPAND   Y8, Y14, Y14
	VPSHUFB Y10, Y0, Y10
	VPSHUFB Y14, Y1, Y14
	VPAND   Y10, Y14, Y15
	VPSRLW  $4, Y11, Y14
	VPAND   Y8, Y11, Y11
	VPAND   Y8, Y14, Y14
	VPSHUFB Y11, Y2, Y11
	VPSHUFB Y14, Y3, Y14
	VPAND   Y11, Y15, Y15
	VPAND   Y14, Y15, Y15
	VPSRLW  $4, Y12, Y14
	VPAND   Y8, Y12, Y12
	VPAND   Y8, Y14, Y14
	VPSHUFB Y12, Y4, Y12
	VPSHUFB Y14, Y5, Y14
	VPAND   Y12, Y15, Y15
	VPAND   Y14, Y15, Y15
	VPSRLW  $4, Y13, Y14
	VPAND   Y8, Y13, Y13
	VPAND   Y8, Y14, Y14
	VPSHUFB Y13, Y6, Y13
	VPSHUFB Y14, Y7, Y14
	VPAND   Y13, Y15, Y15
	VPAND   Y14, Y15, Y15
	VPCMPEQB Y9, Y15, Y15
	VPMOVMSKB Y15, DX
	NOTL DX
	MOVL AX, (R8)(R9*8)
	MOVL DX, 4(R8)(R9*8)
	XORL BX, BX
	TESTL DX, DX
	SETNE BL
	ADDQ BX, R9
	ADDQ $32, AX
	CMPQ AX, CX
	JLE  loop
	VZEROUPPER

none:
	MOVQ R9, found+32(FP)
	MOVQ AX, at+40(FP)
	RET
