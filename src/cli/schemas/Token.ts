/** The documents of `token`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const allowed = (what: string) =>
  Field.list(
    Schema.String,
    `${what}, as the kernel names them; any for all of them, a number for those without a name.`
  )

/** A bpf file system that delegates something. */
export const Token = Schema.Struct({
  token_info: Field.text("Where the file system is mounted."),
  allowed_cmds: allowed("Commands of bpf(2)"),
  allowed_maps: allowed("Types of maps"),
  allowed_progs: allowed("Types of programs"),
  allowed_attachs: allowed("Attach types")
}).annotate({ identifier: "Token", title: "A bpf file system that delegates something" })

const show = {
  description: "What bpf file systems delegate. Keys are those of bpftool token show.",
  schema: Field.list(Token, "The file systems, in the order of mounting.")
}

/** The documents. */
export const documents: ByCommand = {
  "token show": show,
  "token list": show
}
