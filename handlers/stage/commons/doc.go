// Package commons finds example pictures of a dish, with licence and credit, at Wikimedia Commons and Openverse.
//
// It answers the stage search_engine alone: what the local knowledge says of the dish, its search links and its
// placeholder, and the pictures that the two hosts have for it. Pictures are never fetched or passed on; readers get
// their addresses. docs/pictures.md says what is sent where.
package commons
