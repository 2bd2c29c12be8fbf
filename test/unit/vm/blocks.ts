/**
 * Blocks of code that each try one instruction, laid out into one program that runs them all on the same operands.
 *
 * The program's memory is the only value of an array map: operands A at 0, B at 8, C at 16, 32 bytes of A's and B's bytes mixed
 * at 32, then the results of the blocks, `RESULT` bytes each. Operands come from memory, so that the kernel's verifier knows
 * nothing of them and cannot compute results itself.
 */
import * as Encode from "../../../src/insn/Encode.ts"
import * as C from "../../../src/insn/InsnConstants.ts"

/** Code that leaves its results in memory from `at` on; r6 is the memory's address, r1 to r3 hold A, B, C. */
export interface Block {
  readonly name: string
  readonly code: (at: number) => ReadonlyArray<Uint8Array>
}

/** Bytes of a block's results. */
export const RESULT = 24
const FIRST = 64

/** Memory that this many blocks need. */
export const memorySize = (blocks: number): number => FIRST + blocks * RESULT

/** The name of the block whose result a byte of memory is. */
export const blockAt = (blocks: ReadonlyArray<Block>, at: number): string =>
  at < FIRST ? "the operands" : blocks[Math.floor((at - FIRST) / RESULT)]?.name ?? "nothing"

const DW = C.BPF_DW

/** The program, whose first instruction loads the address of the map's value by index 0 of the descriptor array or as told. */
export const programOf = (blocks: ReadonlyArray<Block>, loadAddress: Uint8Array): Uint8Array =>
  Encode.program(
    loadAddress,
    ...blocks.flatMap((block, index) => [
      Encode.ldx(DW, 1, 6, 0),
      Encode.ldx(DW, 2, 6, 8),
      Encode.ldx(DW, 3, 6, 16),
      ...block.code(FIRST + index * RESULT)
    ]),
    Encode.mov64Imm(0, 0),
    Encode.exit()
  )

const write64 = (memory: Uint8Array, at: number, value: bigint): void =>
  new DataView(memory.buffer).setBigUint64(at, BigInt.asUintN(64, value), true)

/** The memory before the program runs. */
export const memoryOf = (blocks: number, a: bigint, b: bigint, c: bigint): Uint8Array => {
  const memory = new Uint8Array(memorySize(blocks))
  write64(memory, 0, a)
  write64(memory, 8, b)
  write64(memory, 16, c)
  write64(memory, 32, a)
  write64(memory, 40, ~b)
  write64(memory, 48, a ^ (b << 7n))
  write64(memory, 56, b)
  return memory
}

/** Operands at which arithmetic may go wrong. */
export const edges: ReadonlyArray<bigint> = [
  0n,
  1n,
  2n,
  7n,
  31n,
  32n,
  33n,
  63n,
  64n,
  -1n,
  -2n,
  -7n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1_0000_0001n,
  -0x8000_0000n,
  -0x8000_0001n,
  0x1f_ffff_ffff_ffffn,
  0x20_0000_0000_0001n,
  0x7fff_ffff_ffff_ffffn,
  -0x8000_0000_0000_0000n,
  0x0123_4567_89ab_cdefn,
  -0x0123_4567_89ab_cdf0n
]

const immediates = [0, 1, 2, 7, 31, 32, 63, 0x7fff_ffff, -1, -2, -0x8000_0000, 0x0dead_bee]

const operations = [
  ["add", C.BPF_ADD],
  ["sub", C.BPF_SUB],
  ["mul", C.BPF_MUL],
  ["div", C.BPF_DIV],
  ["or", C.BPF_OR],
  ["and", C.BPF_AND],
  ["lsh", C.BPF_LSH],
  ["rsh", C.BPF_RSH],
  ["mod", C.BPF_MOD],
  ["xor", C.BPF_XOR],
  ["mov", C.BPF_MOV],
  ["arsh", C.BPF_ARSH]
] as const

const isShift = (op: number): boolean => op === C.BPF_LSH || op === C.BPF_RSH || op === C.BPF_ARSH
const isDivision = (op: number): op is Encode.SignedAluOperation => op === C.BPF_DIV || op === C.BPF_MOD

/** A block that changes r1 and stores it. */
const onR1 = (name: string, ...insns: ReadonlyArray<Uint8Array>): Block => ({
  name,
  code: (at) => [...insns, Encode.stx(DW, 6, 1, at)]
})

// The verifier refuses immediates that it can see to be wrong.
const allowed = (op: number, imm: number, width: number): boolean =>
  isShift(op) ? imm >= 0 && imm < width : !isDivision(op) || imm !== 0

const arithmetic: ReadonlyArray<Block> = operations.flatMap(([name, op]) => [
  onR1(`${name}64 reg`, Encode.alu64Reg(op, 1, 2)),
  onR1(`${name}32 reg`, Encode.alu32Reg(op, 1, 2)),
  onR1(`${name}64 self`, Encode.alu64Reg(op, 1, 1)),
  onR1(`${name}32 self`, Encode.alu32Reg(op, 1, 1)),
  ...immediates.filter((imm) => allowed(op, imm, 64)).map((imm) =>
    onR1(`${name}64 ${imm}`, Encode.alu64Imm(op, 1, imm))
  ),
  ...immediates.filter((imm) => allowed(op, imm, 32)).map((imm) =>
    onR1(`${name}32 ${imm}`, Encode.alu32Imm(op, 1, imm))
  ),
  ...(isDivision(op)
    ? [
      onR1(`s${name}64 reg`, Encode.signed64Reg(op, 1, 2)),
      onR1(`s${name}32 reg`, Encode.signed32Reg(op, 1, 2)),
      onR1(`s${name}64 self`, Encode.signed64Reg(op, 1, 1)),
      ...immediates.flatMap((imm) =>
        imm === 0 ? [] : [
          onR1(`s${name}64 ${imm}`, Encode.signed64Imm(op, 1, imm)),
          onR1(`s${name}32 ${imm}`, Encode.signed32Imm(op, 1, imm))
        ]
      )
    ]
    : [])
])

const unary: ReadonlyArray<Block> = [
  onR1("neg64", Encode.neg64(1)),
  onR1("neg32", Encode.neg32(1)),
  ...([8, 16, 32] as const).flatMap((bits) => [
    onR1(`movsx64 ${bits}`, Encode.movsx64(bits, 1, 2)),
    onR1(`movsx64 ${bits} self`, Encode.movsx64(bits, 1, 1))
  ]),
  ...([8, 16] as const).flatMap((bits) => [
    onR1(`movsx32 ${bits}`, Encode.movsx32(bits, 1, 2)),
    onR1(`movsx32 ${bits} self`, Encode.movsx32(bits, 1, 1))
  ]),
  ...([16, 32, 64] as const).flatMap((bits) => [
    onR1(`le${bits}`, Encode.le(bits, 1)),
    onR1(`be${bits}`, Encode.be(bits, 1)),
    onR1(`bswap${bits}`, Encode.bswap(bits, 1))
  ]),
  onR1("ldimm64", Encode.ldImm64(1, 0x8123_4567_89ab_cdefn)),
  onR1("ldimm64 negative low", Encode.ldImm64(1, 0x1234_5678_8000_0000n))
]

const comparisons = [
  ["jeq", C.BPF_JEQ],
  ["jgt", C.BPF_JGT],
  ["jge", C.BPF_JGE],
  ["jset", C.BPF_JSET],
  ["jne", C.BPF_JNE],
  ["jsgt", C.BPF_JSGT],
  ["jsge", C.BPF_JSGE],
  ["jlt", C.BPF_JLT],
  ["jle", C.BPF_JLE],
  ["jslt", C.BPF_JSLT],
  ["jsle", C.BPF_JSLE]
] as const

/** A block that stores 1 where its jump over one slot is taken, else 2. */
const onJump = (name: string, jump: Uint8Array): Block => ({
  name,
  code: (at) => [Encode.mov64Imm(0, 1), jump, Encode.mov64Imm(0, 2), Encode.stx(DW, 6, 0, at)]
})

const jumps: ReadonlyArray<Block> = [
  ...comparisons.flatMap(([name, op]) => [
    onJump(`${name} reg`, Encode.jmpReg(op, 1, 2, 1)),
    onJump(`${name}32 reg`, Encode.jmp32Reg(op, 1, 2, 1)),
    onJump(`${name} self`, Encode.jmpReg(op, 1, 1, 1)),
    ...immediates.flatMap((imm) => [
      onJump(`${name} ${imm}`, Encode.jmpImm(op, 1, imm, 1)),
      onJump(`${name}32 ${imm}`, Encode.jmp32Imm(op, 1, imm, 1))
    ])
  ]),
  ...([["ja", Encode.ja], ["gotol", Encode.gotol]] as const).map(([name, jump]): Block => ({
    name: `${name} forwards and backwards`,
    code: (at) => [
      Encode.mov64Imm(0, 1),
      jump(1),
      jump(2),
      Encode.alu64Imm(C.BPF_ADD, 0, 1),
      jump(-3),
      Encode.stx(DW, 6, 0, at)
    ]
  })),
  {
    name: "may_goto falls through at first",
    code: (at) => [Encode.mov64Imm(0, 1), Encode.mayGoto(1), Encode.mov64Imm(0, 2), Encode.stx(DW, 6, 0, at)]
  }
]

const sizes = [["b", C.BPF_B, 1], ["h", C.BPF_H, 2], ["w", C.BPF_W, 4], ["dw", C.BPF_DW, 8]] as const
const shortSizes = [["b", C.BPF_B], ["h", C.BPF_H], ["w", C.BPF_W]] as const

const memory: ReadonlyArray<Block> = [
  ...sizes.flatMap(([name, size]): ReadonlyArray<Block> => [
    ...[32, 33, 37, 39, 43, 50].map((offset) => onR1(`ldx ${name} at ${offset}`, Encode.ldx(size, 1, 6, offset))),
    onR1(`ldx ${name} over its address`, Encode.mov64Reg(1, 6), Encode.ldx(size, 1, 1, 40)),
    onR1(`load_acquire ${name}`, Encode.loadAcquire(size, 1, 6, 40)),
    ...[0, 1, 3, 7].flatMap((offset): ReadonlyArray<Block> => [
      {
        name: `stx ${name} at +${offset}`,
        code: (at) => [Encode.stx(DW, 6, 2, at), Encode.stx(DW, 6, 2, at + 8), Encode.stx(size, 6, 1, at + offset)]
      },
      {
        name: `st ${name} at +${offset}`,
        code: (
          at
        ) => [Encode.stx(DW, 6, 2, at), Encode.stx(DW, 6, 2, at + 8), Encode.st(size, 6, at + offset, -0x1234_5678)]
      }
    ]),
    {
      name: `store_release ${name}`,
      code: (at) => [Encode.stx(DW, 6, 2, at), Encode.storeRelease(size, 6, 1, at)]
    },
    {
      name: `stack ${name}`,
      code: (at) => [
        Encode.stx(DW, 10, 2, -16),
        Encode.stx(size, 10, 1, -16),
        Encode.ldx(DW, 0, 10, -16),
        Encode.stx(DW, 6, 0, at),
        Encode.ldx(size, 0, 10, -16),
        Encode.stx(DW, 6, 0, at + 8)
      ]
    }
  ]),
  ...shortSizes.flatMap(([name, size]) => [
    ...[32, 33, 37, 41, 50].map((offset) => onR1(`ldxs ${name} at ${offset}`, Encode.ldxSigned(size, 1, 6, offset))),
    onR1(`ldxs ${name} over its address`, Encode.mov64Reg(1, 6), Encode.ldxSigned(size, 1, 1, 40))
  ]),
  onR1(
    "pointer below and back",
    Encode.mov64Reg(4, 6),
    Encode.alu64Imm(C.BPF_SUB, 4, 4096),
    Encode.ldx(DW, 1, 4, 4096 + 40)
  )
]

type Atomic = (size: Encode.AtomicSize, dst: Encode.Register, src: Encode.Register, offset: number) => Uint8Array
const atomicOperations: ReadonlyArray<readonly [string, Atomic]> = [
  ["add", Encode.atomicAdd],
  ["or", Encode.atomicOr],
  ["and", Encode.atomicAnd],
  ["xor", Encode.atomicXor],
  ["fetch_add", Encode.atomicFetchAdd],
  ["fetch_or", Encode.atomicFetchOr],
  ["fetch_and", Encode.atomicFetchAnd],
  ["fetch_xor", Encode.atomicFetchXor],
  ["xchg", Encode.atomicXchg],
  ["cmpxchg", Encode.atomicCmpxchg]
]

/** Memory is A, the operand B, r0 C; afterwards memory, r2 and r0 are the results. */
const atomics: ReadonlyArray<Block> = atomicOperations.flatMap(([name, of]) =>
  ([["w", C.BPF_W], ["dw", C.BPF_DW]] as const).flatMap(([width, size]): ReadonlyArray<Block> => [
    {
      name: `atomic ${name} ${width}`,
      code: (at) => [
        Encode.stx(DW, 6, 1, at),
        Encode.mov64Reg(0, 3),
        of(size, 6, 2, at),
        Encode.stx(DW, 6, 2, at + 8),
        Encode.stx(DW, 6, 0, at + 16)
      ]
    },
    {
      name: `atomic ${name} ${width}, equal`,
      code: (at) => [
        Encode.stx(DW, 6, 1, at),
        Encode.mov64Reg(0, 1),
        of(size, 6, 2, at),
        Encode.stx(DW, 6, 2, at + 8),
        Encode.stx(DW, 6, 0, at + 16)
      ]
    }
  ])
)

/** Every operation of the instruction set that has a result: arithmetic, byte order, jumps, memory, atomics. */
export const allBlocks: ReadonlyArray<Block> = [...arithmetic, ...unary, ...jumps, ...memory, ...atomics]
