/** Names as the kernel takes them: shared with those who write calls down without making them. */
export { kernelName } from "../abi/Name.ts"
