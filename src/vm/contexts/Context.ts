/** What a program's context stands for: the packet or the bytes behind the pointer in r1. */
import type { Skb } from "./Skb.ts"
import type { XdpBuff } from "./XdpBuff.ts"

/** A context that is open, as helpers find it by its address. */
export type Context = Skb | XdpBuff | { readonly _tag: "Bytes" }
