/** Generators of probes' arguments and notes. */
import * as fc from "fast-check"
import type { Architecture, Argument, Location } from "../../../src/usdt/Argument.ts"

const numbered = (prefix: string, count: number, suffix = ""): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}${suffix}`)

const words = (text: string): ReadonlyArray<string> => text.split(" ")

const x86Old32 = words("eax ebx ecx edx esi edi ebp esp ax bx cx dx si di bp sp")

/** Registers that arguments of any size can be in; of any size that hold addresses. */
const registers: Readonly<Record<Architecture, ReadonlyArray<string>>> = {
  "x86-64": [
    ...words("rax rbx rcx rdx rsi rdi rbp rsp al bl cl dl sil dil bpl spl rip eip"),
    ...x86Old32,
    ...["", "d", "w", "b"].flatMap((suffix) => numbered("r", 16, suffix).slice(8))
  ],
  i386: [...x86Old32, "al", "bl", "cl", "dl", "eip"],
  arm64: [...numbered("x", 31), "sp", "fp", "lr"],
  arm: [...numbered("r", 16), "fp", "ip", "sp", "lr", "pc"],
  s390x: numbered("r", 16),
  riscv64: [
    ...words("ra sp gp tp fp"),
    ...numbered("t", 7),
    ...numbered("s", 12),
    ...numbered("a", 8)
  ]
}

/** Objects like those that parsers make. */
const plain = { noNullPrototype: true } as const

const value = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, (1n << 63n) - 1n, -(1n << 63n)),
  fc.bigInt({ min: -4096n, max: 4096n }),
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n })
)

const location = (architecture: Architecture): fc.Arbitrary<Location> => {
  const register = fc.constantFrom(...registers[architecture])
  const everywhere: ReadonlyArray<fc.Arbitrary<Location>> = [
    fc.record({ _tag: fc.constant("Constant" as const), value }, plain),
    fc.record({ _tag: fc.constant("Register" as const), register }, plain),
    fc.record({ _tag: fc.constant("Memory" as const), base: register, offset: value }, plain)
  ]
  if (architecture !== "x86-64" && architecture !== "i386") return fc.oneof(...everywhere)
  const symbol = fc.constantFrom("counter", "times.0", "_x$y", ".LC0")
  return fc.oneof(
    ...everywhere,
    ...(architecture === "x86-64"
      ? [fc.record({ _tag: fc.constant("Symbol" as const), symbol, offset: value }, plain)]
      : []),
    fc.record({
      _tag: fc.constant("Indexed" as const),
      base: register,
      index: register,
      scale: fc.constantFrom(1, 2, 4, 8),
      offset: value
    }, plain)
  )
}

/** An argument that the assembler of an architecture can write. */
export const argument = (architecture: Architecture): fc.Arbitrary<Argument> =>
  fc.record({ size: fc.constantFrom(1, 2, 4, 8), signed: fc.boolean(), location: location(architecture) }, plain)

/** Arguments as a probe has them. */
export const argumentList = (architecture: Architecture): fc.Arbitrary<ReadonlyArray<Argument>> =>
  fc.array(argument(architecture), { maxLength: 14 })

/** Text that is near to arguments. */
export const almostArguments: fc.Arbitrary<string> = fc.array(
  fc.constantFrom(
    ...words("8@ -4@ @ %rax %rsp (%rax ) ( [ ] , $ # - 1 99999999999999999999 x0 sp r0 fp a0 %r15 8@%rdi : é 4f@%xmm0"),
    ...words("4@-8(%rbp,%rax,4) (,%rax,8) 8@counter(%rip) 8@counter+4(%rip)"),
    " ",
    "\t",
    "\0",
    "4@[sp, 8]"
  ),
  { maxLength: 40 }
).map((parts) => parts.join(""))
