package server

// lolwutText is what LOLWUT draws.
const lolwutText = `
          _.-""'|'""-._
       .-'\     |     /'-.
     .'    \    |    /    '.
    /  '.   \   |   /   .'  \
   ;     '-. \ .-. / .-'     ;
   |---------=( O )=---------|
   ;     .-' / '-' \ '-.     ;
    \  .'   /   |   \   '.  /
     '.    /    |    \    .'
       '-./     |     \.-'
     ~~~~~~"'-..|..-'"~~~~~~
`

// lolwut draws a cartwheel. VERSION and its argument are taken and mean nothing.
func lolwut(c *call) {
	c.w.Verbatim("txt", lolwutText+"\nCartwheel "+Version+", Redis ver. "+RedisVersion+"\n")
}
