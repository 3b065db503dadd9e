package mls

// Ref is the KeyPackageRef of RFC 9420 section 5.2, which Marmot events carry in hex in their `i` tag. It is nil for a suite
// that RFC 9420 does not define, since the suite chooses the hash.
func (kp *KeyPackage) Ref() []byte {
	suite, ok := kp.Ciphersuite.known()
	if !ok {
		return nil
	}
	var input []byte
	input = appendOpaque(input, []byte("MLS 1.0 KeyPackage Reference"))
	input = appendOpaque(input, kp.Marshal())
	return sum(suite.hash, input)
}
